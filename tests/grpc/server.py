"""A service of bytes with all four kinds of call. Prints its port, and ends when its stdin does."""

import concurrent.futures
import sys
import time

import grpc


def one(request, context):
    metadata = dict(context.invocation_metadata())
    if request == b"fail":
        context.set_trailing_metadata((("x-why", "asked"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked: 100 % sure")
    if request == b"left":
        return str(context.time_remaining()).encode()
    if request == b"sleep":
        time.sleep(3)
    context.send_initial_metadata((("x-initial", "1"),))
    context.set_trailing_metadata((("x-trailing", metadata.get("x-sent", "")),))
    return request[::-1]


def many_answers(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def many_requests(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield request.upper()


class Service(grpc.GenericRpcHandler):
    kinds = {
        "/t.T/One": grpc.unary_unary_rpc_method_handler(one),
        "/t.T/ManyAnswers": grpc.unary_stream_rpc_method_handler(many_answers),
        "/t.T/ManyRequests": grpc.stream_unary_rpc_method_handler(many_requests),
        "/t.T/Both": grpc.stream_stream_rpc_method_handler(both),
    }

    def service(self, details):
        return self.kinds.get(details.method)


server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Service(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(None)
