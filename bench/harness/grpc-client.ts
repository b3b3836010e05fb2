import { type ClientHttp2Session, connect } from "node:http2";
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { StartupError } from "../../src/kernel/errors.ts";

/** An encoded request that can be sent any number of times. */
export interface EncodedRequest<Output extends DescMessage = DescMessage> {
  path: string;
  frame: Buffer;
  output: Output;
}

/** A successful response, undecoded. */
export interface EncodedResponse {
  /** One message with its gRPC frame header. */
  body: Buffer;
  /** The header x-cartwright-cache: memory, redis, miss or bypass. */
  cache: string;
}

/**
 * A gRPC client with little overhead, because it shares the machine with the measured service: requests are encoded
 * beforehand, responses are not decoded, and calls go directly to node:http2.
 */
export interface GrpcClient {
  /** @throws StartupError when the response is not OK */
  call(request: EncodedRequest): Promise<EncodedResponse>;
  close(): void;
}

/** The gRPC frame header: a compression flag and the length. */
const FRAME_HEADER_BYTES = 5;

/** Encodes the path and the frame of a request of any kind of method. */
export function encodeFrame<Input extends DescMessage>(
  { parent, name, input }: DescMethod & { input: Input },
  init: MessageInitShape<Input>,
): Pick<EncodedRequest, "path" | "frame"> {
  const message = toBinary(input, create(input, init));
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, FRAME_HEADER_BYTES);
  return { path: `/${parent.typeName}/${name}`, frame };
}

/** Encodes a request. */
export function encodeRequest<Input extends DescMessage, Output extends DescMessage>(
  method: DescMethodUnary<Input, Output>,
  init: MessageInitShape<Input>,
): EncodedRequest<Output> {
  return { ...encodeFrame<Input>(method, init), output: method.output };
}

/** Decodes a response. */
export function decodeResponse<Output extends DescMessage>(
  { output }: EncodedRequest<Output>,
  { body }: EncodedResponse,
): MessageShape<Output> {
  return fromBinary(output, body.subarray(FRAME_HEADER_BYTES));
}

/** Whether no field of the message is set, as in an empty list. */
export const isEmpty = ({ body }: EncodedResponse): boolean => body.length === FRAME_HEADER_BYTES;

/**
 * Opens a client.
 * @param connections how many connections calls rotate over
 * @param headers sent with each call
 */
export function openGrpcClient(
  url: string,
  connections: number,
  headers: Readonly<Record<string, string>> = {},
): GrpcClient {
  const sessions = Array.from({ length: connections }, () => connect(url));
  for (const session of sessions) session.on("error", () => {}); // its calls reject
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
  if (session === undefined) throw new RangeError("A client needs at least one connection.");
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
      if (status === "0" && body.length >= FRAME_HEADER_BYTES) resolve({ body, cache });
      else reject(new StartupError(`${path} failed with gRPC status ${status || "?"}: ${message}`));
    });
    stream.end(frame);
  });
}
