"""Follows the feed from where it left off: stream.py [HOST:PORT TOKEN_FILE]"""

import sys
import time
from pathlib import Path

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, saved = sys.argv[1:] or ("127.0.0.1:50051", "attache.token")
channel = grpc.insecure_channel(address)
pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
method = pool.FindServiceByName("attache.v1.FeedService").methods_by_name["WatchEvents"]
Request, Response = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
watch = channel.unary_stream("/attache.v1.FeedService/WatchEvents", Request.SerializeToString, Response.FromString)
saved, begin = Path(saved), "oldest"
while True:
    start = {"after": saved.read_text()} if saved.exists() else {begin: {}}
    try:
        for frame in watch(Request(**start), wait_for_ready=True):
            for event in frame.batch.events:
                print(event.id, event.subject, event.headline, flush=True)
            saved.write_text(frame.token)  # after the work, so that nothing is missed
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        if b"LOG_REPLACED" in details:  # the token is of another log: all that stands now, then what changes
            saved.unlink()
            begin = "snapshot"
        elif error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
    time.sleep(1)  # the server went away: again from the last token
