import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";

/** What trailers say of a call that went well. */
export const grpcOk: Readonly<Record<string, string>> = { "grpc-status": "0" };

/**
 * What trailers say of an error. Connect escapes more of its message than the protocol asks for, and
 * @grpc/grpc-js undoes less than that: its users would see "id%3A must be".
 */
export function grpcStatusOf(error: ConnectError): Record<string, string> {
  const status = Object.fromEntries(setTrailerStatus(new Headers(), error));
  return { ...status, "grpc-message": encodeURI(error.rawMessage) };
}
