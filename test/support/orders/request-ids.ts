import { randomUUID } from "node:crypto";

/** Returns the request_id of an index; it is created when the index is used for the first time. */
export function requestIdOf({ requestIds }: { requestIds: string[] }, index: number): string {
  const requestId = requestIds[index] ?? randomUUID();
  requestIds[index] = requestId;
  return requestId;
}
