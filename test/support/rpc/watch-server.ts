import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { ConnectError, type HandlerContext, type Transport } from "@connectrpc/connect";
import { onTestFinished } from "vitest";
import { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { DeadlineSchema } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Call } from "../../../src/kernel/call.ts";
import { getCall } from "../../../src/rpc/call/call-context.ts";
import { firstMethod, withPolicy } from "./altered-contract.ts";
import { type RpcServer, type RpcServerOptions, startRpcServer } from "./rpc-server.ts";

/** GetProduct as a watch: a stream of products without a deadline. ListProducts stays unary. */
export const watchService = withPolicy(CatalogService, "GetProduct", (policy, method) => {
  method.serverStreaming = true;
  policy.cache = undefined;
  policy.deadline = create(DeadlineSchema, { unlimited: true });
  return undefined;
});
export const watchMethod = firstMethod("server_streaming", watchService);

/** The watch and the calls that the handlers of a server have seen. */
export interface WatchServer extends RpcServer {
  /** The calls of all watches so far. */
  calls: Call[];
  endedCount(): number;
}

/** Yields the messages of a watch. */
export type Watch = (call: Call, context: HandlerContext) => AsyncIterable<Record<string, unknown>>;

/** Sends one message, then waits until the watch ends. */
export const idleWatch: Watch = async function* ({ signal }) {
  yield {};
  await untilAborted(signal);
};

/** Starts a server with `watchService`. */
export async function startWatchServer(
  { watch = idleWatch, ...options }: RpcServerOptions & { watch?: Watch } = {},
  listProducts: () => Promise<object> = async () => ({}),
): Promise<WatchServer> {
  const calls: Call[] = [];
  let ended = 0;
  const server = await startRpcServer({
    services: [watchService],
    routes: (router) =>
      router
        .rpc(watchMethod, async function* (_, context) {
          const call = getCall(context);
          calls.push(call);
          try {
            yield* watch(call, context);
          } finally {
            ended += 1;
          }
        })
        .rpc(watchService.method.listProducts, listProducts),
    ...options,
  });
  return { ...server, calls, endedCount: () => ended };
}

/** Resolves when a signal aborts. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** A watch as its caller sees it. */
export interface OpenedWatch {
  messages: Message[];
  /** Resolves when the watch ends, with its error; undefined when it ends with OK. */
  end: Promise<ConnectError | undefined>;
  cancel(): void;
}

/** Opens a watch, and cancels it when the test is over. */
export function openWatch(
  transport: Transport,
  { headers = {}, timeoutMs }: { headers?: Record<string, string>; timeoutMs?: number } = {},
): OpenedWatch {
  const controller = new AbortController();
  const cancel = () => controller.abort();
  onTestFinished(cancel);
  const messages: Message<DescMessage["typeName"]>[] = [];
  const receive = async () => {
    const { signal } = controller;
    const response = await transport.stream(watchMethod, signal, timeoutMs, headers, oneRequest());
    for await (const message of response.message) messages.push(message);
  };
  const end = receive().then(
    () => undefined,
    (error: unknown) => ConnectError.from(error),
  );
  return { messages, end, cancel };
}

async function* oneRequest() {
  yield create(CatalogService.method.getProduct.input, { key: { case: "sku", value: "A" } });
}
