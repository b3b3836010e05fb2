import { type FakeAccount, findIntent } from "./fake-account.ts";
import { cancelFakeIntent, captureFakeIntent, confirmFakeIntent, createFakeIntent } from "./fake-intents.ts";
import { type FakeIntent, invalidRequest } from "./fake-objects.ts";
import { assertKnown, expandParam, type FakeParams, requiredParam } from "./fake-params.ts";
import { createFakeRefund } from "./fake-returns.ts";

/** The requests that the fake handles. */
export type FakeOperation =
  | "create"
  | "confirm"
  | "capture"
  | "cancel"
  | "retrieve"
  | "search"
  | "refund"
  | "list_refunds"
  | "list_disputes";

/** A request to the API. */
export interface FakeRoute {
  operation: FakeOperation;
  /** Id of the PaymentIntent; empty if the path has none. */
  id: string;
}

/** Returns the route of a request; undefined for an unknown one. */
export function findRoute(method: string, path: string): FakeRoute | undefined {
  const name = `${method} ${path}`;
  const fixed: Record<string, FakeOperation> = {
    "POST /v1/payment_intents": "create",
    "GET /v1/payment_intents/search": "search",
    "POST /v1/refunds": "refund",
    "GET /v1/refunds": "list_refunds",
    "GET /v1/disputes": "list_disputes",
  };
  const operation = fixed[name];
  if (operation !== undefined) return { operation, id: "" };
  const [, id = "", action] = /^\/v1\/payment_intents\/(\w+)(?:\/(\w+))?$/.exec(path) ?? [];
  if (id === "") return undefined;
  if (method === "GET" && action === undefined) return { operation: "retrieve", id };
  if (method !== "POST") return undefined;
  return action === "confirm" || action === "capture" || action === "cancel"
    ? { operation: action, id }
    : undefined;
}

/**
 * Executes a request.
 * @throws FakeStripeError
 */
export function runRoute(account: FakeAccount, { operation, id }: FakeRoute, params: FakeParams): object {
  const expanded = (intent: FakeIntent) => expandIntent(account, intent, expandParam(params));
  switch (operation) {
    case "create":
      return expanded(createFakeIntent(account, params));
    case "confirm":
      return expanded(confirmFakeIntent(account, id, params));
    case "capture":
      return expanded(captureFakeIntent(account, id, params));
    case "cancel":
      return expanded(cancelFakeIntent(account, id, params));
    case "retrieve":
      assertKnown(params, []);
      return expanded(findIntent(account, id));
    case "search":
      return searchIntents(account, params);
    case "refund":
      return createFakeRefund(account, params);
    case "list_refunds":
      return listOf("/v1/refunds", account.refunds.values(), params);
    case "list_disputes":
      return listOf("/v1/disputes", account.disputes.values(), params);
  }
}

function expandIntent(account: FakeAccount, intent: FakeIntent, paths: readonly string[]): object {
  const copy = structuredClone(intent);
  if (!paths.includes("latest_charge") || copy.latest_charge === null) return copy;
  return { ...copy, latest_charge: structuredClone(account.charges.get(copy.latest_charge)) };
}

function searchIntents(account: FakeAccount, params: FakeParams): object {
  assertKnown(params, ["query", "limit"]);
  const [, name, value] = /^metadata\['(\w+)'\]:'([\w-]+)'$/.exec(requiredParam(params, "query")) ?? [];
  if (name === undefined) throw invalidRequest("parameter_invalid", "The query is not valid.");
  const paths = expandParam(params).map((path) => path.replace(/^data\./, ""));
  const data = [...account.intents.values()]
    .filter(({ metadata }) => metadata[name] === value)
    .map((intent) => expandIntent(account, intent, paths));
  return {
    object: "search_result",
    url: "/v1/payment_intents/search",
    has_more: false,
    next_page: null,
    data,
  };
}

/** Returns a page of the objects of one PaymentIntent, newest first. */
function listOf(
  url: string,
  objects: Iterable<{ id: string; payment_intent: string }>,
  params: FakeParams,
): object {
  assertKnown(params, ["payment_intent", "limit", "starting_after"]);
  const intent = requiredParam(params, "payment_intent");
  const all = [...objects].filter(({ payment_intent: id }) => id === intent).reverse();
  const limit = Number(params.get("limit") ?? 10);
  const after = all.findIndex(({ id }) => id === params.get("starting_after"));
  const data = all.slice(after + 1, after + 1 + limit);
  return { object: "list", url, has_more: after + 1 + limit < all.length, data: structuredClone(data) };
}
