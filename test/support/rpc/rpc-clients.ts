import {
  create,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { onTestFinished } from "vitest";
import { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";

/** Returns a transport for each protocol, over both versions of HTTP where it has them. */
export function transports(url: string) {
  return {
    "gRPC over HTTP/2": createGrpcTransport({ baseUrl: url }),
    "gRPC-Web over HTTP/1.1": createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" }),
    "gRPC-Web over HTTP/2": createGrpcWebTransport({ baseUrl: url, httpVersion: "2" }),
    "Connect over HTTP/1.1": createConnectTransport({ baseUrl: url, httpVersion: "1.1" }),
    "Connect over HTTP/2": createConnectTransport({ baseUrl: url, httpVersion: "2" }),
    "Connect JSON": createConnectTransport({ baseUrl: url, httpVersion: "1.1", useBinaryFormat: false }),
    "Connect GET": createConnectTransport({ baseUrl: url, httpVersion: "1.1", useHttpGet: true }),
  };
}

/** The names of `transports`, for test.each. */
export const transportNames = Object.keys(transports("http://127.0.0.1")) as (keyof ReturnType<
  typeof transports
>)[];

/** Returns a client of @grpc/grpc-js, which shares no code with Connect. */
export function grpcJs(port: number): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.enable_retries": 0,
  });
  onTestFinished(() => client.close());
  return client;
}

/** Makes one unary call by @grpc/grpc-js. @throws ServiceError */
export function callGrpcJs<I extends DescMethodUnary["input"], O extends DescMethodUnary["output"]>(
  client: Client,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: { deadline?: Date; metadata?: Record<string, string> } = {},
): Promise<MessageShape<O>> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      create(method.input, request),
      metadata,
      options.deadline === undefined ? {} : { deadline: options.deadline },
      (error: ServiceError | null, response?: MessageShape<O>) => {
        if (response === undefined) reject(error);
        else resolve(response);
      },
    );
  });
}

/** Posts a JSON body to a method. */
export function post(
  url: string,
  method: DescMethodUnary,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(methodUrl(url, method), {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

/** Returns the URL of a method. */
export function methodUrl(url: string, method: DescMethodUnary): string {
  return `${url}/${method.parent.typeName}/${method.name}`;
}

/** The path of GetProduct. */
export const getProductPath = `/${CatalogService.typeName}/GetProduct`;

/** The path and query of a GET of ListProducts. */
export const listProductsGet = `/${CatalogService.typeName}/ListProducts?encoding=json&message={}`;

/** Returns the bytes of a request of GetProduct. */
export function getProductBytes(sku: string): Uint8Array {
  const request = create(CatalogService.method.getProduct.input, { key: { case: "sku", value: sku } });
  return toBinary(CatalogService.method.getProduct.input, request);
}
