"""A publish at each step of a subscribe leaves no gap and no duplicate."""

from .host import STREAM, NewHost

ROUNDS = 300
# Between reading the state of a stream, or a page, and using it: long enough for publishes to come in between.
SLOW = "subscribe.state=sleep:0.003; reads.page=sleep:0.003"


async def test_publishes_in_the_middle_of_subscribes_leave_no_gap(new_host: NewHost) -> None:
    async with new_host(FAILPOINTS=SLOW) as host:
        host.fault(SLOW)
        # The only reader: each time its feed is opened anew.
        await host.load(readers=0, sdk=0)
        reader = await host.client("reader", STREAM, key="reader")
        for number in range(ROUNDS):
            await reader.unsubscribe(STREAM)
            if number % 3 == 0:
                await reader.read(STREAM)
            await reader.subscribe(STREAM)
        await host.acks(max(1, 1_000 - host.acknowledged))
        await host.finish()
