"""Makes all four kinds of call to the given address and checks the results."""

import queue
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1], options=(("grpc.enable_retries", 0),))
one = channel.unary_unary("/t.T/One")
many_answers = channel.unary_stream("/t.T/ManyAnswers")
many_requests = channel.stream_unary("/t.T/ManyRequests")
both = channel.stream_stream("/t.T/Both")


def failure(call):
    try:
        answer = call()
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"it does not fail: {answer!r}")


answer, call = one.with_call(b"abc", metadata=(("x-sent", "2"),), timeout=10)
assert answer == b"cba", answer
assert ("x-initial", "1") in call.initial_metadata(), call.initial_metadata()
assert ("x-trailing", "2") in call.trailing_metadata(), call.trailing_metadata()

large = bytes(range(256)) * 8192
assert one(large, timeout=10) == large[::-1]

assert list(many_answers(b"1000", timeout=10)) == [b"%d" % number for number in range(1000)]
assert many_requests((b"x" * 1000 for _ in range(500)), timeout=10) == b"500000"

# Each message passes before the next one is sent.
sent = queue.Queue()
answers = both(iter(sent.get, None), timeout=10)
for text in (b"one", b"two", b"three"):
    sent.put(text)
    assert next(answers) == text.upper()
sent.put(None)
assert list(answers) == []

error = failure(lambda: one(b"fail", timeout=10))
assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
assert error.details() == "as asked: 100 % sure", error.details()
assert ("x-why", "asked") in error.trailing_metadata()

left = float(one(b"left", timeout=8))
# grpcio rounds its own deadline up.
assert 6 < left < 8.1, left

assert failure(lambda: channel.unary_unary("/t.T/None")(b"", timeout=10)).code() == grpc.StatusCode.UNIMPLEMENTED
assert failure(lambda: one(b"sleep", timeout=0.3)).code() == grpc.StatusCode.DEADLINE_EXCEEDED

# Refusals of the gateway itself. The service has no such method; the first call takes the limit's only token.
failure(lambda: channel.unary_unary("/limited/One")(b"", timeout=10))
limited = failure(lambda: channel.unary_unary("/limited/One")(b"", timeout=10))
assert limited.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, limited
assert "limit" in limited.details(), limited.details()
assert failure(lambda: channel.unary_unary("/down/One")(b"", timeout=10)).code() == grpc.StatusCode.UNAVAILABLE
assert failure(lambda: channel.unary_unary("/elsewhere")(b"", timeout=10)).code() == grpc.StatusCode.UNIMPLEMENTED
print("well")
