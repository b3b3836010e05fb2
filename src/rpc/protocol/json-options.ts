import { createRegistry, type DescService, type Registry } from "@bufbuild/protobuf";

/** Responses in JSON contain every field, and requests with an unknown field are rejected: a typo is an error. */
export const jsonOptions = { alwaysEmitImplicit: true, ignoreUnknownFields: false };

/** How messages are read from JSON and written as JSON. */
export type JsonOptions = typeof jsonOptions & {
  /** The messages that a google.protobuf.Any can contain. */
  readonly registry: Registry;
};

/** Returns the options of JSON for servers of these services. */
export function createJsonOptions(services: readonly DescService[]): JsonOptions {
  return { ...jsonOptions, registry: createRegistry(...services.map(({ file }) => file)) };
}
