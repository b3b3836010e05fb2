import http2 from "node:http2";
import { onTestFinished } from "vitest";

/** Opens an HTTP/2 connection, and closes it when the test is over. */
export function connectHttp2(
  url: string,
  options?: http2.SecureClientSessionOptions,
): http2.ClientHttp2Session {
  const session = http2.connect(url, options);
  session.on("error", () => {});
  onTestFinished(() => session.destroy());
  return session;
}

/** Returns a message in the envelope of gRPC. */
export function envelope(message: Uint8Array, isCompressed = false): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt8(isCompressed ? 1 : 0);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/** Sends the headers of a gRPC call. The caller sends the body. */
export function openGrpc(
  session: http2.ClientHttp2Session,
  path: string,
  headers: Record<string, string> = {},
): http2.ClientHttp2Stream {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.on("error", () => {});
  return stream;
}

/** The end of a gRPC call, by its headers or trailers. */
export interface GrpcEnd {
  /** Undefined when the call ended without a status. */
  status: string | undefined;
  message: string;
}

/** Waits for the end of a gRPC call. */
export async function grpcEnd(stream: http2.ClientHttp2Stream): Promise<GrpcEnd> {
  const end: GrpcEnd = { status: undefined, message: "" };
  const record = (headers: http2.IncomingHttpHeaders) => {
    end.status ??= headers["grpc-status"]?.toString();
    end.message ||= decodeURI(headers["grpc-message"]?.toString() ?? "");
  };
  stream.on("response", record).on("trailers", record).resume();
  await new Promise((resolve) => stream.once("end", resolve).once("close", resolve));
  return end;
}

/** Waits for the status of a gRPC call. */
export async function grpcStatus(stream: http2.ClientHttp2Stream): Promise<string | undefined> {
  return (await grpcEnd(stream)).status;
}
