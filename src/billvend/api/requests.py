"""Schemas of requests, for validation and for the OpenAPI document.

Types and names are checked here. The domain checks amounts, meters and the like, with error codes of their own.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from billvend.domain.enums import Status, VendType
from billvend.domain.errors import InvalidAmount, ValidationFailed
from billvend.domain.ids import MAX_KEY_CHARACTERS, MAX_USER_ID_CHARACTERS
from billvend.domain.money import CURRENCIES
from billvend.usecases.pay import Bill

MAX_BATCH_SIZE = 1_000
"""Payments in one request."""

PRINTABLE_FORMAT = "printable"
"""The format of a user id. The rule is in `parse_user_id`: no regular expression can state it."""


def _require_number_or_text(value: object) -> object:
    """Accept the JSON types of an amount. The domain parses its value. Raises `InvalidAmount`."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        reason = "must be a number or a plain decimal string"
        raise InvalidAmount(
            f"The amount is invalid: it {reason}. Nothing was done.", fields={"amount": reason}
        )
    return value


def _documented(description: str, example: str, *kinds: dict[str, Any]) -> WithJsonSchema:
    """The JSON schema of a value that the domain parses. `kinds`: its JSON types."""
    shape = kinds[0] if len(kinds) == 1 else {"anyOf": [*kinds]}
    return WithJsonSchema({**shape, "description": description, "examples": [example]})


Amount = Annotated[
    Any,
    BeforeValidator(_require_number_or_text),
    _documented(
        "Major units (naira), exactly: a plain decimal string, or a number. Never read as a binary float.",
        "500.00",
        {"type": "string", "pattern": "^[0-9]+([.][0-9]+)?$", "maxLength": 32},
        {"type": "number", "exclusiveMinimum": 0},
    ),
]
Currency = Annotated[
    str | None,
    _documented(
        "ISO 4217. Default: DEFAULT_CURRENCY.",
        "NGN",
        {"type": "string", "enum": sorted(CURRENCIES)},
        {"type": "null"},
    ),
]
UserId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_USER_ID_CHARACTERS,
        description="The user whose wallet it is. Opaque, compared exactly. Printable characters, no blank at either end.",
        examples=["user123"],
        json_schema_extra={"format": PRINTABLE_FORMAT},
    ),
]
MeterNumber = Annotated[
    Any,
    _documented("10 to 16 digits, as text.", "12345678901", {"type": "string", "pattern": "^[0-9]{10,16}$"}),
]
BillerCode = Annotated[
    str, Field(description="The electricity company: a code of GET /billers.", examples=["EKEDC"])
]
VendTypeName = Annotated[
    Any, WithJsonSchema({"type": "string", "enum": [*VendType], "default": VendType.PREPAID})
]
Phone = Annotated[
    Any,
    _documented(
        "The customer's phone number.",
        "08030000000",
        {"type": "string", "pattern": "^[+]?[0-9]{7,15}$"},
        {"type": "null"},
    ),
]


class RequestModel(BaseModel):
    """Names in camelCase. Types are not converted, and unknown names are rejected."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


class FundRequest(RequestModel):
    """Money to add to a wallet."""

    user_id: UserId
    amount: Amount
    currency: Currency = None


class DepositRequest(RequestModel):
    """A deposit that a customer will pay by Paystack."""

    user_id: UserId
    amount: Amount
    currency: Currency = None
    email: Annotated[
        str,
        Field(min_length=3, max_length=254, description="The payer's address.", examples=["ada@example.com"]),
    ]


def _document_both_names(schema: dict[str, Any]) -> None:
    """Show `biller` beside `provider`, one of them required."""
    properties = {}
    for name, member in schema["properties"].items():
        properties[name] = member
        if name == "provider":
            properties["biller"] = member | {
                "title": "Biller",
                "description": "The same as `provider`: give one of them, or both with the same value.",
            }
    schema["properties"] = properties
    schema["required"].remove("provider")
    schema["anyOf"] = [{"required": ["provider"]}, {"required": ["biller"]}]


class BillerRequest(RequestModel):
    """A request that names the electricity company, as `provider` or as `biller`."""

    model_config = ConfigDict(json_schema_extra=_document_both_names)

    biller: Annotated[BillerCode, Field(validation_alias=AliasChoices("provider", "biller"))]

    @model_validator(mode="before")
    @classmethod
    def _require_one_biller(cls, values: Any) -> Any:
        """Accept both names with the same value. Raises `ValidationFailed` when the values differ."""
        if not isinstance(values, dict) or not {"provider", "biller"} <= values.keys():
            return values
        if values["provider"] != values["biller"]:
            reason = "must be the same as `provider`, or left out"
            raise ValidationFailed(
                f"The request is invalid: `biller` {reason}. Nothing was done.", fields={"biller": reason}
            )
        return {name: value for name, value in values.items() if name != "biller"}


class PayRequest(BillerRequest):
    """A bill to pay."""

    user_id: UserId
    bill_type: Literal["electricity"]
    amount: Amount
    meter_number: MeterNumber
    vend_type: VendTypeName = VendType.PREPAID.value
    phone: Phone = None
    allow_duplicate: Annotated[
        bool, Field(description="true: pay although the same bill was paid seconds ago.")
    ] = False

    def to_bill(self, key: str | None) -> Bill:
        """The bill, with its idempotency key."""
        return Bill(
            self.user_id, self.amount, self.meter_number, self.biller, self.vend_type, self.phone, key,
            self.allow_duplicate,
        )  # fmt: skip


class BatchEntryRequest(PayRequest):
    """A bill in a batch, optionally with its own key."""

    idempotency_key: Annotated[
        str | None,
        Field(
            description=f"1 to {MAX_KEY_CHARACTERS} printable ASCII characters. Default: made from the header "
            "Idempotency-Key and the position in the batch."
        ),
    ] = None


class BatchRequest(RequestModel):
    """Bills to pay, each accepted or rejected on its own."""

    payments: Annotated[
        list[SkipValidation[BatchEntryRequest]], Field(min_length=1, max_length=MAX_BATCH_SIZE)
    ]


class VerifyRequest(BillerRequest):
    """A meter to look up."""

    meter_number: MeterNumber
    vend_type: VendTypeName = VendType.PREPAID.value


# --- not in the body --------------------------------------------------------------------------------------------------


class IdempotencyKeyHeader(BaseModel):
    """The idempotency key, which makes a request safe to repeat."""

    idempotency_key: Annotated[
        str | None,
        Field(alias="Idempotency-Key"),
        _documented(
            "Printable ASCII. Belongs to this user and this request for ever. A repeat changes nothing and gets the first "
            "response.",
            "order-42",
            {"type": "string", "pattern": "^[!-~]([ -~]*[!-~])?$", "maxLength": MAX_KEY_CHARACTERS},
        ),
    ] = None


class UserPath(BaseModel):
    """The user whose wallet it is."""

    user_id: Annotated[UserId, Field(alias="userId")]


class TransactionPath(BaseModel):
    """The transaction."""

    transaction_id: Annotated[
        str, Field(alias="transactionId", examples=["019a0b5c-7d3e-7000-8000-1234567890ab"])
    ]


class BalanceQuery(BaseModel):
    """The currency of the wallet."""

    model_config = ConfigDict(extra="forbid")

    currency: Currency = None


class TransactionsQuery(BaseModel):
    """Filters and the page."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
            description="`nextCursor` of the previous page.",
        ),
    ] = None
    status: Status | None = None
    type: Literal["funding", "payment"] | None = None
