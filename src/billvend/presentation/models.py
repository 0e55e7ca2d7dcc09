"""What the outside reads as JSON: the HTTP API's `data`, `--json` of commands, and the data of webhooks.

Names are in camelCase, money is a string with the currency's decimals, times are RFC 3339 in UTC with milliseconds. A model
reads its members from the attributes of the value that it shows (`model_validate`), or has a method `of` that does so. The
OpenAPI document comes from the same models. This module has what they share, and the smaller ones.
"""

import json
from datetime import datetime
from typing import Annotated, Any, Self, TypeAlias

from pydantic import AliasPath, BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation, WithJsonSchema
from pydantic.alias_generators import to_camel

from billvend.domain.enums import VendType
from billvend.domain.journal.codec import format_timestamp
from billvend.domain.meter_lookup import MeterFound
from billvend.domain.money import Money

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object. Its values may be models."""


def iso_time(at: datetime) -> str:
    """A moment as RFC 3339 in UTC, to the millisecond: `2026-11-22T12:00:00.000Z`."""
    return format_timestamp(at, "milliseconds")


def _text_schema(description: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, "examples": [example]})


def read_from(*path: str) -> Any:
    """A member that is read from another attribute of the value, or from an attribute of an attribute."""
    return Field(validation_alias=AliasPath(*path))


MoneyString = Annotated[
    Money,
    SkipValidation,
    PlainSerializer(str, return_type=str),
    _text_schema("Major units with the currency's decimals.", "500.00"),
]
Timestamp = Annotated[
    datetime,
    PlainSerializer(iso_time, return_type=str),
    _text_schema("RFC 3339, UTC.", "2026-11-22T12:00:00.000Z"),
]
AmountCurrency = Annotated[str, read_from("amount", "currency")]
"""The currency of the value's amount."""
BillerName = Annotated[
    str,
    Field(
        description="The electricity company. `provider` and `biller` are the same, until version 2.",
        examples=["EKEDC"],
    ),
]
TransactionId = Annotated[str, Field(examples=["019a0b5c-7d3e-7000-8000-1234567890ab"])]


class ResponseModel(BaseModel):
    """Names in camelCase. More may be added."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, from_attributes=True, defer_build=True
    )

    def to_json(self) -> JsonObject:
        """The members that are set, under their names in JSON."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def dumps(document: object, *, indent: int | None = None) -> str:
    """JSON text of a document with models in it. ASCII only: every string can be written so, even a lone surrogate."""
    return json.dumps(document, indent=indent, default=ResponseModel.to_json)


# --- wallets, meters, billers -----------------------------------------------------------------------------------------


class FundResponse(ResponseModel):
    """A wallet after money was added."""

    transaction_id: TransactionId
    user_id: str
    amount: MoneyString
    currency: AmountCurrency
    balance: Annotated[MoneyString, Field(description="The available balance right after it.")]


class DepositResponse(ResponseModel):
    """Where the payer pays."""

    reference: str
    authorization_url: str


class MeterResponse(ResponseModel):
    """A meter and its customer."""

    meter_number: str
    provider: BillerName
    biller: BillerName
    vend_type: VendType
    customer_name: str | None
    address: str | None
    minimum_amount: MoneyString | None
    maximum_amount: MoneyString | None
    currency: str

    @classmethod
    def of(cls, details: MeterFound, meter: str, biller: str, vend_type: str, currency: str) -> Self:
        """The provider's answer about a meter. Its amounts are in `currency`."""
        minimum, maximum = (
            None if minor is None else Money(minor, currency)
            for minor in (details.minimum_minor, details.maximum_minor)
        )
        return cls(
            meter_number=meter,
            provider=biller,
            biller=biller,
            vend_type=VendType(vend_type.lower()),
            customer_name=details.customer_name,
            address=details.address,
            minimum_amount=minimum,
            maximum_amount=maximum,
            currency=currency,
        )


class BillerResponse(ResponseModel):
    """An electricity company."""

    code: str
    name: str
    vend_types: list[VendType]


class BillersResponse(ResponseModel):
    """The billers that can be paid."""

    items: list[BillerResponse]
