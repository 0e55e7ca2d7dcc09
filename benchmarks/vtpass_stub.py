"""A provider that sells everything, after a given time: `python -m benchmarks.vtpass_stub MILLISECONDS`.

It answers as VTpass does, without a database and with a minimal HTTP/1.1, so that it does not limit what is measured. It
prints its port on stdout.
"""

import asyncio
import json
import re
import sys


def answer(order: dict[str, str]) -> bytes:
    """VTpass's answer to an order that was delivered."""
    transaction = {
        "status": "delivered", "unique_element": order["billersCode"], "amount": order["amount"],
        "total_amount": float(order["amount"]), "transactionId": order["request_id"], "type": "Electricity Bill",
        "unit_price": order["amount"], "quantity": 1,
    }  # fmt: skip
    return json.dumps(
        {
            "code": "000", "response_description": "TRANSACTION SUCCESSFUL", "requestId": order["request_id"],
            "amount": float(order["amount"]), "transaction_date": "2026-11-22T12:00:00.000000Z",
            "purchased_code": "Token : 12345678901234567890", "content": {"transactions": transaction},
            "mainToken": f"{abs(hash(order['request_id'])) % 10**20:020}", "mainTokenUnits": 2.2,
        }
    ).encode()  # fmt: skip


async def main(latency_seconds: float) -> None:
    """Answer until the process is stopped."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            length = re.search(rb"(?i)content-length: (\d+)", head)
            order = json.loads(await reader.readexactly(int(length[1]))) if length else {}
            await asyncio.sleep(latency_seconds)
            body = (
                answer(order)
                if head.startswith(b"POST /api/pay")
                else b'{"code": 1, "contents": {"balance": 9e9}}'
            )
            head_format = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            writer.write(head_format % (len(body), body))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) / 1000))
