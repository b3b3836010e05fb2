import { once } from "node:events";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { CatalogService } from "../../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { connectHttp2, openGrpc } from "../../../support/rpc/raw-http2.ts";
import { getProductPath } from "../../../support/rpc/rpc-clients.ts";
import { startRpcServer } from "../../../support/rpc/rpc-server.ts";

const LIMIT = 200_000;
const CHUNK = 50_000;
const PINGS = 200;
const TOO_LARGE = String(Code.ResourceExhausted);

/**
 * Sends the headers of a message above the limit, with its length, and the message chunk by chunk. Stops at the first
 * headers of the response, as connect-go does: the server would reset the stream of a request that is not complete.
 */
async function sendUntilResponse(url: string, path: string, type: string) {
  const session = connectHttp2(url);
  await once(session, "connect");
  const envelopeHeader = Buffer.alloc(5);
  envelopeHeader.writeUInt32BE(LIMIT + 10, 1);
  const body = Buffer.concat([envelopeHeader, Buffer.alloc(LIMIT + 10)]);
  const stream = openGrpc(session, path, { "content-type": type, "content-length": String(body.length) });
  let response = "";
  const collect = (fields: object) => {
    response += JSON.stringify(fields);
  };
  stream.on("trailers", collect).on("data", (chunk: Buffer) => {
    response += chunk.toString("latin1");
  });
  const responded = new Promise<true>((resolve) => stream.once("response", () => resolve(true)));
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  let sent = 0;
  while (sent < body.length) {
    stream.write(body.subarray(sent, sent + CHUNK));
    sent += CHUNK;
    // A response to this chunk would arrive before all of these acknowledgements.
    const roundTrips = async () => {
      for (let ping = 0; ping < PINGS; ping += 1) await new Promise((resolve) => session.ping(resolve));
    };
    if (await Promise.race([responded, roundTrips()])) break;
  }
  stream.end();
  await closed;
  return { response, resetCode: stream.rstCode, isComplete: sent >= body.length };
}

test.each([
  ["a unary call by gRPC", getProductPath, "application/grpc"],
  ["a unary call by gRPC-Web", getProductPath, "application/grpc-web+proto"],
  ["a unary call in another codec", getProductPath, "application/grpc+json"],
  ["a stream by gRPC", `/${CatalogService.typeName}/ImportProducts`, "application/grpc"],
])("%s that is too large gets its error before its stream is closed", async (_what, path, type) => {
  const { url } = await startRpcServer({
    limits: { maxRequestBytes: LIMIT, drainMs: 600_000 },
    catalog: {
      importProducts: async (requests) => {
        for await (const _ of requests);
        return {};
      },
    },
  });
  const { response, resetCode, isComplete } = await sendUntilResponse(url, path, type);
  expect(response).toMatch(new RegExp(`grpc-status(":"|: )${TOO_LARGE}`));
  expect(resetCode).toBe(0);
  expect(isComplete).toBe(true);
});

test("a request that never arrives completely gets its response when the time is over", async () => {
  const { url } = await startRpcServer({ limits: { maxRequestBytes: LIMIT, drainMs: 20 } });
  const stream = openGrpc(connectHttp2(url), getProductPath, { "content-length": String(LIMIT + 15) });
  const envelopeHeader = Buffer.alloc(5);
  envelopeHeader.writeUInt32BE(LIMIT + 10, 1);
  stream.write(envelopeHeader);
  const status = await new Promise((resolve) => {
    stream.once("trailers", (trailers) => resolve(trailers["grpc-status"]));
    stream.resume();
  });
  expect(status).toBe(TOO_LARGE);
});
