import { setTimeout as delay } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { callKey } from "../../src/rpc/call/call-context.ts";
import { DEFAULT_TIMEOUT_MS } from "./contract.ts";
import {
  type BidiStreamRequest,
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload_RequestInfoSchema,
  type ConformancePayloadSchema,
  type ConformanceService,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  type StreamResponseDefinition,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
} from "./gen/connectrpc/conformance/v1/service_pb.ts";
import { appendHeaders, headerList, requestedError } from "./messages.ts";

/** A response of every method of the suite. */
interface PayloadResponse {
  payload: MessageInitShape<typeof ConformancePayloadSchema>;
}

/** A request as its handler sees it. */
type RequestInfo = MessageInitShape<typeof ConformancePayload_RequestInfoSchema>;

/** Describes the request of a call. */
type DescribeRequest = (context: HandlerContext, requests: Any[]) => RequestInfo;

/** Creates the service of the suite, as its contract describes it. `Unimplemented` has no implementation. */
export function createConformanceService(): Partial<ServiceImpl<typeof ConformanceService>> {
  const describe: DescribeRequest = (context, requests) => {
    const timeoutMs = context.values.get(callKey)?.setup.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const query = new URL(context.url).searchParams;
    return {
      requestHeaders: headerList(context.requestHeader),
      requests,
      // The default timeout is none of the caller's.
      ...(timeoutMs === DEFAULT_TIMEOUT_MS ? {} : { timeoutMs: BigInt(Math.trunc(timeoutMs)) }),
      ...(context.requestMethod === "GET" ? { connectGetInfo: { queryParams: headerList(query) } } : {}),
    };
  };
  return {
    async unary(request, context) {
      const info = describe(context, [anyPack(UnaryRequestSchema, request)]);
      return respondOnce(request.responseDefinition, info, context);
    },
    async idempotentUnary(request, context) {
      const info = describe(context, [anyPack(IdempotentUnaryRequestSchema, request)]);
      return respondOnce(request.responseDefinition, info, context);
    },
    async clientStream(messages, context) {
      let definition: UnaryResponseDefinition | undefined;
      const requests: Any[] = [];
      for await (const message of messages) {
        if (requests.length === 0) definition = message.responseDefinition;
        requests.push(anyPack(ClientStreamRequestSchema, message));
      }
      return respondOnce(definition, describe(context, requests), context);
    },
    async *serverStream(request, context) {
      const info = describe(context, [anyPack(ServerStreamRequestSchema, request)]);
      const definition = request.responseDefinition;
      if (definition === undefined) return;
      appendHeaders(definition, context);
      yield* respondMany(definition, info);
    },
    async *bidiStream(messages, context) {
      yield* converse(messages, describe, context);
    },
  };
}

/** @throws ConnectError when the definition requests an error */
async function respondOnce(
  definition: UnaryResponseDefinition | undefined,
  requestInfo: RequestInfo,
  context: HandlerContext,
): Promise<PayloadResponse> {
  if (definition === undefined) return { payload: { requestInfo } };
  appendHeaders(definition, context);
  await delay(definition.responseDelayMs);
  const { response } = definition;
  if (response.case === "error") throw requestedError(response.value, requestInfo);
  return { payload: { requestInfo, data: response.value ?? new Uint8Array() } };
}

/**
 * Yields the responses of a definition from one on, then fails if the definition requests it.
 * @param requestInfo is sent with the first response, or with the error when there is none
 * @throws ConnectError when the definition requests an error
 */
async function* respondMany(
  { responseData, responseDelayMs, error }: StreamResponseDefinition,
  requestInfo: RequestInfo,
  from = 0,
): AsyncGenerator<PayloadResponse> {
  for (const [index, data] of responseData.slice(from).entries()) {
    await delay(responseDelayMs);
    yield { payload: from + index === 0 ? { data, requestInfo } : { data } };
  }
  if (error !== undefined) throw requestedError(error, responseData.length === 0 ? requestInfo : undefined);
}

/** Yields a response to each request if the first request is full-duplex, else all of them after the last request. */
async function* converse(
  messages: AsyncIterable<BidiStreamRequest>,
  describe: DescribeRequest,
  context: HandlerContext,
): AsyncGenerator<PayloadResponse> {
  let first: BidiStreamRequest | undefined;
  let sent = 0;
  let requests: Any[] = [];
  for await (const message of messages) {
    if (first === undefined) {
      first = message;
      if (first.responseDefinition !== undefined) appendHeaders(first.responseDefinition, context);
    }
    requests.push(anyPack(BidiStreamRequestSchema, message));
    if (!first.fullDuplex) continue;
    const data = first.responseDefinition?.responseData[sent];
    if (data === undefined) break;
    await delay(first.responseDefinition?.responseDelayMs);
    yield { payload: { data, requestInfo: sent === 0 ? describe(context, requests) : { requests } } };
    sent += 1;
    requests = [];
  }
  if (first?.responseDefinition === undefined) return;
  yield* respondMany(first.responseDefinition, describe(context, requests), sent);
}
