import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";

type Trailers = Readonly<Record<string, string>>;

/** The trailers of a call that succeeded. */
export const GRPC_OK: Trailers = { "grpc-status": "0" };

/**
 * Returns the trailers for an error: status, message, details and metadata.
 * @param trailer the trailers that the handler set before
 */
export function grpcErrorTrailers(error: ConnectError, trailer?: Headers): Record<string, string> {
  const status = Object.fromEntries(setTrailerStatus(new Headers(trailer), error));
  return { ...status, "grpc-message": encodeGrpcMessage(error.rawMessage) };
}

/**
 * Percent-encodes an error message as gRPC requires. Connect escapes more of it than the protocol does, and
 * @grpc/grpc-js decodes less: its users would see "id%3A must be".
 */
export function encodeGrpcMessage(message: string): string {
  return encodeURI(message.toWellFormed());
}

/** Returns trailers that Connect wrote, with the error message encoded so that every client decodes it. */
export function normalizeGrpcMessage(trailers: Trailers): Trailers {
  const message = trailers["grpc-message"];
  if (message === undefined) return trailers;
  return { ...trailers, "grpc-message": encodeGrpcMessage(decodeURIComponent(message)) };
}
