/** The protocol of a call, as logs and handlers name it. */
export type Protocol = "grpc" | "grpc-web" | "connect";

/** Returns the protocol of a request by its content type. A GET has none, and is Connect's. */
export function protocolOf(contentType = ""): Protocol {
  if (!contentType.startsWith("application/grpc")) return "connect";
  return contentType.startsWith("application/grpc-web") ? "grpc-web" : "grpc";
}
