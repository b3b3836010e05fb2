import { type ClientHttp2Session, connect } from "node:http2";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { StartupError } from "../../src/kernel/errors.ts";

/** A call as it goes out, ready to be sent as often as wanted. */
export interface EncodedRequest<Output extends DescMessage = DescMessage> {
  path: string;
  frame: Buffer;
  output: Output;
}

/** An answer that was OK, undecoded. */
export interface EncodedResponse {
  /** One message in its frame. */
  body: Buffer;
  /** What the cache says of it: memory, redis, miss or bypass. */
  cache: string;
}

/**
 * Calls by gRPC that cost the caller next to nothing, on one machine with what is measured: requests are
 * encoded beforehand, answers are not decoded, and nothing is between them and node:http2.
 */
export interface GrpcClient {
  /** @throws StartError when the answer is not OK */
  call(request: EncodedRequest): Promise<EncodedResponse>;
  close(): void;
}

/** Five bytes before each message: not compressed, and how long it is. */
const PREFIX_BYTES = 5;

/** A request of a method, encoded. */
export function encodeRequest<Input extends DescMessage, Output extends DescMessage>(
  method: DescMethodUnary<Input, Output>,
  init: MessageInitShape<Input>,
): EncodedRequest<Output> {
  const message = toBinary(method.input, create(method.input, init));
  const frame = Buffer.alloc(PREFIX_BYTES + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return { path: `/${method.parent.typeName}/${method.name}`, frame, output: method.output };
}

/** What an answer says. */
export function decodeResponse<Output extends DescMessage>(
  { output }: EncodedRequest<Output>,
  { body }: EncodedResponse,
): MessageShape<Output> {
  return fromBinary(output, body.subarray(PREFIX_BYTES));
}

/** Whether it is a message of which no field is set, such as a list of nothing. */
export const isEmpty = ({ body }: EncodedResponse): boolean => body.length === PREFIX_BYTES;

/**
 * @param connections that take turns
 * @param headers that each call carries
 */
export function openGrpcClient(
  url: string,
  connections: number,
  headers: Readonly<Record<string, string>> = {},
): GrpcClient {
  const sessions = Array.from({ length: connections }, () => connect(url));
  for (const session of sessions) session.on("error", () => {}); // its calls tell
  let turn = 0;
  return {
    call: (request) => send(sessions[turn++ % connections], request, headers),
    close: () => {
      for (const session of sessions) session.destroy();
    },
  };
}

function send(
  session: ClientHttp2Session | undefined,
  { path, frame }: EncodedRequest,
  headers: Readonly<Record<string, string>>,
): Promise<EncodedResponse> {
  if (session === undefined) throw new RangeError("A client has one connection at least.");
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    const chunks: Buffer[] = [];
    let [cache, status, message] = ["", "", ""];
    stream.on("response", (headers) => {
      cache = String(headers["x-cartwright-cache"] ?? "");
      status = String(headers["grpc-status"] ?? "");
      message = String(headers["grpc-message"] ?? `HTTP status ${headers[":status"]}`);
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("trailers", (trailers) => {
      status = String(trailers["grpc-status"] ?? "");
      message = String(trailers["grpc-message"] ?? "");
    });
    stream.on("error", reject);
    stream.on("end", () => {
      const [only] = chunks;
      const body = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
      if (status === "0" && body.length >= PREFIX_BYTES) resolve({ body, cache });
      else reject(new StartupError(`${path} was answered with gRPC status ${status || "?"}: ${message}`));
    });
    stream.end(frame);
  });
}
