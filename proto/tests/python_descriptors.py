"""Compares our descriptors with those inside the official Python SDK.

    python python_descriptors.py ../src/gen/descriptor.bin lf.a2a.v1
    python python_descriptors.py ../src/gen/descriptor_v03.bin a2a.v1

Prints every difference and exits with 1 if there is one. It reads names, numbers, types,
cardinalities, oneofs, required marks, enum values and methods; comments and file options are not
compared. Needs a2a-sdk, which brings protobuf and googleapis-common-protos along.
"""

import sys

from google.api import field_behavior_pb2  # before descriptors are parsed: it registers REQUIRED
from google.protobuf import descriptor_pb2

from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.types import a2a_pb2

THEIRS = {"lf.a2a.v1": a2a_pb2, "a2a.v1": a2a_v0_3_pb2}


def facts_of_message(message, prefix):
    """One line for each field of a message and of the messages within."""
    name = f"{prefix}.{message.name}"
    yield f"message {name}"
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        behavior = field.options.Extensions[field_behavior_pb2.field_behavior]
        required = field_behavior_pb2.REQUIRED in behavior
        label = descriptor_pb2.FieldDescriptorProto.Label.Name(field.label)
        kind = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)
        yield (
            f"field {name}.{field.name} = {field.number} {label} {kind} {field.type_name} "
            f"json={field.json_name} oneof={oneof} optional={field.proto3_optional} required={required}"
        )
    for enum in message.enum_type:
        yield from facts_of_enum(enum, name)
    for nested in message.nested_type:
        yield from facts_of_message(nested, name)


def facts_of_enum(enum, prefix):
    """One line for each value of an enum."""
    for value in enum.value:
        yield f"enum {prefix}.{enum.name}.{value.name} = {value.number}"


def facts_of_file(file):
    """One line for everything that the wire knows of."""
    for message in file.message_type:
        yield from facts_of_message(message, file.package)
    for enum in file.enum_type:
        yield from facts_of_enum(enum, file.package)
    for service in file.service:
        for method in service.method:
            yield (
                f"method {file.package}.{service.name}.{method.name} {method.input_type} -> "
                f"{method.output_type} client_streaming={method.client_streaming} "
                f"server_streaming={method.server_streaming}"
            )


def main():
    with open(sys.argv[1], "rb") as descriptors:
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read()).file
    package = sys.argv[2]
    ours = {fact for file in files if file.package == package for fact in facts_of_file(file)}

    theirs_file = descriptor_pb2.FileDescriptorProto()
    THEIRS[package].DESCRIPTOR.CopyToProto(theirs_file)
    # json_name is left out of embedded descriptors where it is the default: parse it back in.
    for message in theirs_file.message_type:
        fill_json_names(message)
    theirs = set(facts_of_file(theirs_file))

    for fact in sorted(ours - theirs):
        print(f"only ours:   {fact}")
    for fact in sorted(theirs - ours):
        print(f"only theirs: {fact}")
    print(f"{len(ours & theirs)} facts agree, {len(ours ^ theirs)} differ")
    return 0 if ours == theirs and ours else 1


def fill_json_names(message):
    """Gives every field the JSON name that it has by default."""
    for field in message.field:
        if not field.json_name:
            head, *tail = field.name.split("_")
            field.json_name = head + "".join(word.capitalize() for word in tail)
    for nested in message.nested_type:
        fill_json_names(nested)


if __name__ == "__main__":
    sys.exit(main())
