import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
} from "../../gen/google/rpc/error_details_pb.ts";

/** The parts of an error that tests compare. */
export interface Failure {
  code: string;
  reason: string | undefined;
  fields: string[];
  preconditions: string[];
  metadata: Record<string, string>;
  message: string;
}

/** Awaits a call that must fail, and returns its error. */
export async function failureOf(call: Promise<unknown>): Promise<Failure> {
  const error = await call.then(
    (response) => {
      throw new Error(`the call succeeded: ${String(response)}`);
    },
    (reason: unknown) => ConnectError.from(reason),
  );
  const [info] = error.findDetails(ErrorInfoSchema);
  const fields = error.findDetails(BadRequestSchema).flatMap((detail) => detail.fieldViolations);
  const states = error.findDetails(PreconditionFailureSchema).flatMap((detail) => detail.violations);
  return {
    code: Code[error.code] ?? "",
    reason: info?.reason,
    fields: fields.map((violation) => violation.field),
    preconditions: states.map((violation) => violation.type),
    metadata: info?.metadata ?? {},
    message: error.rawMessage,
  };
}
