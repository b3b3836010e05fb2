import type { IncomingHttpHeaders } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";
import { OrderService } from "../../gen/cartwright/order/v1/order_service_pb.ts";
import { StartupError } from "../../src/kernel/errors.ts";
import { type EncodedRequest, encodeFrame } from "../harness/grpc-client.ts";

/** Longest wait for the messages of all watchers, in milliseconds. */
const MAX_WAIT_MS = 120_000;
/** Streams of each connection. */
const STREAMS = 100;
const FRAME_HEADER_BYTES = 5;
const { watchOrder } = OrderService.method;

/** Watchers of orders that note when their last message arrived, without decoding it. */
export interface Watchers {
  /**
   * Resolves when the watchers have this number of messages each, on average.
   * @throws StartupError when they do not have them in time, or a watch has ended
   */
  untilReceived(count: number): Promise<void>;
  /** For each order, when its watchers received their last message, in milliseconds of `performance.now()`. */
  receivedAt(orderId: string): number[];
  close(): void;
}

interface Watcher {
  receivedAtMs: number;
}

/** Opens watchers, in turn for each of the orders, over connections of 100 streams. */
export async function openWatchers(
  url: string,
  orderIds: readonly string[],
  count: number,
): Promise<Watchers> {
  const sessions: ClientHttp2Session[] = [];
  const byOrder = new Map<string, Watcher[]>(orderIds.map((id) => [id, []]));
  let opened = 0;
  let received = 0;
  let failure: Error | undefined;
  let notify = () => {};
  let isClosed = false;
  const fail = (error: Error) => {
    if (!isClosed) failure ??= error;
    notify();
  };
  const onMessage = () => {
    received += 1;
    notify();
  };
  const untilReceived = async (messages: number) => {
    const expected = messages * opened;
    const timer = setTimeout(() => {
      fail(new StartupError(`The watchers received ${received} of ${expected} messages.`));
    }, MAX_WAIT_MS);
    while (failure === undefined && received < expected) {
      await new Promise<void>((resolve) => {
        notify = resolve;
      });
    }
    clearTimeout(timer);
    if (failure !== undefined) throw failure;
  };
  for (let index = 0; index < count; index += 1) {
    if (index % STREAMS === 0) {
      const session = connect(url);
      session.on("error", fail);
      sessions.push(session);
      await untilReceived(1);
    }
    const id = orderIds[index % orderIds.length] ?? "";
    const watcher = { receivedAtMs: 0 };
    opened += 1;
    byOrder.get(id)?.push(watcher);
    const { path, frame } = encodeFrame(watchOrder, { id });
    openWatcher(sessions.at(-1), { path, frame }, watcher, onMessage, fail);
  }
  await untilReceived(1);
  return {
    untilReceived,
    receivedAt: (orderId) => (byOrder.get(orderId) ?? []).map(({ receivedAtMs }) => receivedAtMs),
    close() {
      isClosed = true;
      for (const session of sessions) session.destroy();
    },
  };
}

function openWatcher(
  session: ClientHttp2Session | undefined,
  { path, frame }: Pick<EncodedRequest, "path" | "frame">,
  watcher: Watcher,
  onMessage: () => void,
  onError: (error: Error) => void,
): void {
  if (session === undefined) throw new RangeError("A watcher needs a connection.");
  const stream: ClientHttp2Stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  let unread: Buffer = Buffer.alloc(0);
  stream.on("data", (chunk: Buffer) => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    while (unread.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + unread.readUInt32BE(1);
      if (unread.length < end) return;
      unread = unread.subarray(end);
      watcher.receivedAtMs = performance.now();
      onMessage();
    }
  });
  stream.on("error", onError);
  let status = "";
  const setStatus = (headers: IncomingHttpHeaders) => {
    status = `${headers["grpc-status"] ?? status} ${headers["grpc-message"] ?? ""}`;
  };
  stream.on("response", setStatus);
  stream.on("trailers", setStatus);
  stream.on("end", () => onError(new StartupError(`A watch has ended with gRPC status ${status}.`)));
  stream.end(frame);
}
