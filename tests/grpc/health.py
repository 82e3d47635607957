"""The official health service, of which each line on stdin sets one status: a service (or `-`) and the status.

Prints its port, and ends when its stdin does.
"""

import concurrent.futures
import sys

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
for line in sys.stdin:
    service, status = line.split()
    servicer.set(service.strip("-"), health_pb2.HealthCheckResponse.ServingStatus.Value(status))
server.stop(None)
