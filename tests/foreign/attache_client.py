"""A client made from nothing but the server's own descriptors: no generated code."""

from functools import cache

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

PACKAGE = "attache.v1"
DEADLINE_S = 30


def pool_from_file(path):
    """A pool and the services of the package from a FileDescriptorSet."""
    with open(path, "rb") as file:
        files = {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file}
    pool, added = descriptor_pool.DescriptorPool(), set()

    def add(name):
        if name not in added:
            added.add(name)
            for dependency in files[name].dependency:
                add(dependency)
            pool.AddSerializedFile(files[name].SerializeToString())

    for name in files:
        add(name)
    return pool, {f"{PACKAGE}.{s.name}" for f in files.values() if f.package == PACKAGE for s in f.service}


def pool_from_reflection(channel):
    """The same from the server's reflection service."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = descriptor_pool.DescriptorPool(database)
    return pool, {name for name in database.get_services() if name.startswith(f"{PACKAGE}.")}


class Refused(Exception):
    """An error of the catalogue, with its details decoded."""

    def __init__(self, error):
        super().__init__(f"{error.code().name}: {error.details()}")
        self.code = error.code()
        self.info = self.bad_request = self.resource = None
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            for attribute, kind in (
                ("info", error_details_pb2.ErrorInfo),
                ("bad_request", error_details_pb2.BadRequest),
                ("resource", error_details_pb2.ResourceInfo),
            ):
                if detail.Is(kind.DESCRIPTOR):
                    value = kind()
                    detail.Unpack(value)
                    setattr(self, attribute, value)

    @property
    def reason(self):
        return self.info.reason if self.info else None

    @property
    def fields(self):
        return [violation.field for violation in self.bad_request.field_violations] if self.bad_request else []


class Client:
    """Calls by rpc name; requests are dictionaries in proto JSON, with fields by their proto names."""

    def __init__(self, channel, pool, services):
        self.pool, self.channel, self.called = pool, channel, set()
        self.methods = {
            method.name: method for service in services for method in pool.FindServiceByName(service).methods
        }

    @property
    def rpcs(self):
        return set(self.methods)

    @cache
    def message(self, full_name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))

    def prepare(self, rpc, fields):
        method = self.methods[rpc]
        sends = "stream" if method.client_streaming else "unary"
        make = getattr(self.channel, f"{sends}_{'stream' if method.server_streaming else 'unary'}")
        stub = make(
            f"/{method.containing_service.full_name}/{rpc}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=self.message(method.output_type.full_name).FromString,
        )
        return stub, json_format.ParseDict(fields, self.message(method.input_type.full_name)())

    def call(self, rpc, **fields):
        """One answer; raises Refused."""
        stub, request = self.prepare(rpc, fields)
        try:
            answer = stub(request, timeout=DEADLINE_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise Refused(error) from None
        self.called.add(rpc)
        return answer

    def stream(self, rpc, **fields):
        """Every answer to one request; raises Refused."""
        stub, request = self.prepare(rpc, fields)
        try:
            answers = list(stub(request, timeout=DEADLINE_S, wait_for_ready=True))
        except grpc.RpcError as error:
            raise Refused(error) from None
        self.called.add(rpc)
        return answers

    def exchange(self, rpc, requests):
        """Every answer to a stream of requests; raises Refused."""
        stub, _ = self.prepare(rpc, {})
        prepared = [self.prepare(rpc, fields)[1] for fields in requests]
        try:
            answers = list(stub(iter(prepared), timeout=DEADLINE_S, wait_for_ready=True))
        except grpc.RpcError as error:
            raise Refused(error) from None
        self.called.add(rpc)
        return answers

    def watch(self, **fields):
        """A stream of frames; `cancel()` breaks it off. Iterating raises Refused."""
        stub, request = self.prepare("WatchEvents", fields)
        self.called.add("WatchEvents")
        return Frames(stub(request, timeout=4 * DEADLINE_S, wait_for_ready=True))

    def pages(self, rpc, field, **fields):
        """Every element of a list, and the token that all pages share."""
        elements, page, tokens = [], "", set()
        while True:
            answer = self.call(rpc, page_token=page, **fields)
            elements += getattr(answer, field)
            tokens.add(answer.token)
            page = answer.next_page_token
            if not page:
                assert len(tokens) == 1, f"{rpc}: the pages were read at {len(tokens)} positions"
                return elements, tokens.pop()


class Frames:
    def __init__(self, call):
        self.stream = call

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return next(self.stream)
        except grpc.RpcError as error:
            raise Refused(error) from None

    def cancel(self):
        self.stream.cancel()
