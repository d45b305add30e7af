//! Writes the generated code of mesh-proto from its .proto files, without protoc.
