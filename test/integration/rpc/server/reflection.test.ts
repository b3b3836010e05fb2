import {
  create,
  createFileRegistry,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { OrderService } from "../../../../gen/cartwright/order/v1/order_service_pb.ts";
import { TrackerService } from "../../../../gen/cartwright/tracker/v1/tracker_service_pb.ts";
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
} from "../../../../gen/grpc/reflection/v1/reflection_pb.ts";
import { grpcJs, transports } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

type Query = MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"];
type Response = MessageShape<typeof ServerReflectionResponseSchema>;
type SendQuery = (query: Query) => Promise<Response>;

/** Sends queries over one stream of @grpc/grpc-js. The two versions have the same encoding. */
function openReflection(port: number, version: string): SendQuery {
  const stream = grpcJs(port).makeBidiStreamRequest(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    (message: MessageShape<typeof ServerReflectionRequestSchema>) =>
      Buffer.from(toBinary(ServerReflectionRequestSchema, message)),
    (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, bytes),
  );
  return (messageRequest) =>
    new Promise((resolve, reject) => {
      stream.removeAllListeners("error").once("data", resolve).once("error", reject);
      stream.write(create(ServerReflectionRequestSchema, { host: "here", messageRequest }));
    });
}

function filesOf({ messageResponse }: Response): FileDescriptorProto[] {
  if (messageResponse.case !== "fileDescriptorResponse") throw new Error(messageResponse.case);
  return messageResponse.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

/** Returns the registry of the files. Throws when an import is missing. */
function linkFiles(files: FileDescriptorProto[]) {
  const inOrder = new Set<FileDescriptorProto>();
  const add = (name: string) => {
    const file = files.find((candidate) => candidate.name === name);
    if (file === undefined) throw new Error(`${name} is missing`);
    file.dependency.forEach(add);
    inOrder.add(file);
  };
  for (const { name } of files) add(name);
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [...inOrder] }));
}

/** Yields every name that a file declares. */
function* symbolsOf(file: FileDescriptorProto): Generator<string> {
  const within = function* (
    scope: string,
    {
      message,
      enums,
    }: { message: FileDescriptorProto["messageType"]; enums: FileDescriptorProto["enumType"] },
  ): Generator<string> {
    for (const type of message) {
      yield `${scope}.${type.name}`;
      for (const { name } of type.field) yield `${scope}.${type.name}.${name}`;
      for (const { name } of type.oneofDecl) {
        // Those of optional fields are made by the compiler.
        if (!name.startsWith("_")) yield `${scope}.${type.name}.${name}`;
      }
      const nested = type.nestedType.filter(({ options }) => options?.mapEntry !== true);
      yield* within(`${scope}.${type.name}`, { message: nested, enums: type.enumType });
    }
    for (const type of enums) {
      yield `${scope}.${type.name}`;
      for (const { name } of type.value) yield `${scope}.${name}`;
    }
  };
  yield* within(file.package, { message: file.messageType, enums: file.enumType });
  for (const { name } of file.extension) yield `${file.package}.${name}`;
  for (const { name, method } of file.service) {
    yield `${file.package}.${name}`;
    for (const { name: methodName } of method) yield `${file.package}.${name}.${methodName}`;
  }
}

describe.each(["v1", "v1alpha"])("reflection %s", (version) => {
  test("reflection lists the services", async () => {
    const { port } = await startRpcServer();
    const { messageResponse, validHost, originalRequest } = await openReflection(
      port,
      version,
    )({
      case: "listServices",
      value: "",
    });
    expect(messageResponse.value).toMatchObject({
      service: [
        { name: CatalogService.typeName },
        { name: OrderService.typeName },
        { name: TrackerService.typeName },
        { name: "grpc.health.v1.Health" },
        { name: "grpc.reflection.v1.ServerReflection" },
        { name: "grpc.reflection.v1alpha.ServerReflection" },
      ],
    });
    expect(validHost).toBe("here");
    expect(originalRequest?.messageRequest).toEqual({ case: "listServices", value: "" });
  });

  test("reflection finds every symbol of every file, with all imports of the file", async () => {
    const { port } = await startRpcServer();
    const query = openReflection(port, version);
    const found = new Map<string, FileDescriptorProto>();
    for (const name of [CatalogService.typeName, OrderService.typeName, TrackerService.typeName]) {
      const files = filesOf(await query({ case: "fileContainingSymbol", value: name }));
      expect(linkFiles(files).getService(name)?.methods.length).toBeGreaterThan(3);
      for (const file of files) found.set(file.name, file);
    }
    expect([...found.keys()]).toEqual(
      expect.arrayContaining([
        "buf/validate/validate.proto",
        "cartwright/policy/v1/policy.proto",
        "google/protobuf/descriptor.proto",
        "google/protobuf/timestamp.proto",
      ]),
    );
    let symbols = 0;
    for (const file of found.values()) {
      const [first, ...others] = filesOf(await query({ case: "fileByFilename", value: file.name }));
      expect(first).toEqual(file);
      linkFiles([file, ...others]);
      for (const value of symbolsOf(file)) {
        const [declaring] = filesOf(await query({ case: "fileContainingSymbol", value }));
        expect([value, declaring?.name]).toEqual([value, file.name]);
        symbols += 1;
      }
    }
    expect(symbols).toBeGreaterThan(500);
  });

  test("reflection finds extensions, such as the policies of methods", async () => {
    const { port } = await startRpcServer();
    const query = openReflection(port, version);
    const containingType = "google.protobuf.MethodOptions";
    const numbers = await query({ case: "allExtensionNumbersOfType", value: containingType });
    expect(numbers.messageResponse.value).toMatchObject({
      baseTypeName: containingType,
      extensionNumber: [51_000],
    });
    const value = { containingType, extensionNumber: 51_000 };
    const [file] = filesOf(await query({ case: "fileContainingExtension", value }));
    expect(file?.name).toBe("cartwright/policy/v1/policy.proto");
    const none = await query({ case: "allExtensionNumbersOfType", value: "cartwright.catalog.v1.Product" });
    expect(none.messageResponse.value).toMatchObject({ extensionNumber: [] });
  });

  test.each<[string, Query, number]>([
    ["file", { case: "fileByFilename", value: "nope.proto" }, 5],
    ["symbol", { case: "fileContainingSymbol", value: "cartwright.Nope" }, 5],
    [
      "extension",
      { case: "fileContainingExtension", value: { containingType: "a.B", extensionNumber: 1 } },
      5,
    ],
    ["type", { case: "allExtensionNumbersOfType", value: "a.B" }, 5],
    ["query", { case: undefined }, 3],
  ])(
    "reflection responds with an error for an unknown %s, and the stream goes on",
    async (_, unknown, errorCode) => {
      const { port } = await startRpcServer();
      const query = openReflection(port, version);
      const { messageResponse } = await query(unknown);
      expect(messageResponse).toMatchObject({ case: "errorResponse", value: { errorCode } });
      expect((await query({ case: "listServices", value: "" })).messageResponse.case).toBe(
        "listServicesResponse",
      );
    },
  );
});

test("the messages of error details are found, though no file imports them", async () => {
  const { port } = await startRpcServer();
  for (const name of ["ErrorInfo", "BadRequest", "RetryInfo"]) {
    const [file] = filesOf(
      await openReflection(port, "v1")({ case: "fileContainingSymbol", value: `google.rpc.${name}` }),
    );
    expect(file?.name).toBe("google/rpc/error_details.proto");
  }
});

test("Connect clients can use reflection", async () => {
  const { url } = await startRpcServer();
  const client = createClient(ServerReflection, transports(url)["Connect over HTTP/2"]);
  const queries = async function* () {
    yield {
      messageRequest: { case: "fileContainingSymbol", value: ".cartwright.catalog.v1.Product" },
    } as const;
  };
  for await (const response of client.serverReflectionInfo(queries())) {
    expect(filesOf(response)[0]?.name).toBe("cartwright/catalog/v1/catalog.proto");
  }
});
