import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  FailedJobSchema,
  InvariantCheckSchema,
} from "../../gen/cartwright/operations/v1/operations_pb.ts";
import type { OperationsService } from "../../gen/cartwright/operations/v1/operations_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { CheckResult, FailedJob, Operations } from "./operations.ts";

/** Creates the handlers of OperationsService. */
export function operationsRpc(operations: Operations, getCall: (context: HandlerContext) => Call) {
  return {
    async verifyInvariants({ maxBreaches }, context) {
      const { snapshotTime, checks } = await operations.verifyInvariants(getCall(context), maxBreaches);
      return {
        passed: checks.every(({ breachCount }) => breachCount === 0n),
        checks: checks.map(toCheckMessage),
        snapshotTime: timestampFromDate(snapshotTime),
      };
    },
    async listFailedJobs(request, context) {
      const { items, nextPageToken } = await operations.listFailedJobs(getCall(context), request);
      return { jobs: items.map(toJobMessage), nextPageToken };
    },
    async retryJob({ id }, context) {
      await operations.retryJob(getCall(context), id);
      return {};
    },
  } satisfies ServiceImpl<typeof OperationsService>;
}

function toCheckMessage(result: CheckResult): MessageInitShape<typeof InvariantCheckSchema> {
  const { durationMs, breaches, ...check } = result;
  return {
    ...check,
    breaches: breaches.map(({ resource, values }) => ({ resource, values })),
    duration: durationFromMs(Math.round(durationMs)),
  };
}

function toJobMessage({ createTime, failTime, ...job }: FailedJob): MessageInitShape<typeof FailedJobSchema> {
  return { ...job, createTime: timestampFromDate(createTime), failTime: timestampFromDate(failTime) };
}
