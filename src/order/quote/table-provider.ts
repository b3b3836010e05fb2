import { serialize } from "node:v8";
import { Cache } from "../../infra/cache/cache.ts";
import type { InvalidationBus } from "../../infra/cache/invalidation-bus.ts";
import { internalCall } from "../../kernel/call.ts";
import { HOUR_MS } from "../../kernel/durations.ts";
import { ZONES_TAG, type Zones, type ZoneTables } from "../zone/zones.ts";
import type { QuoteProvider } from "./quote.ts";
import { createTableQuoter } from "./table-quoter.ts";

/** Dependencies of quotes by the tables of zones. */
export interface TableProviderOptions {
  zones: Pick<Zones, "readTables">;
  bus: InvalidationBus;
}

/** Maximum memory for the tables, in bytes. The most zones that there can be need less. */
const MAX_BYTES = 64 * 2 ** 20;
/** Time for which the tables are cached unless a zone changes, in milliseconds. */
const FRESH_MS = HOUR_MS;

/**
 * Creates the provider that computes quotes with the zones of the shop. The zones are in memory until one changes, so that
 * a quote costs no statement.
 */
export function createTableProvider({ zones, bus }: TableProviderOptions): QuoteProvider {
  const cache = new Cache<ZoneTables>({ bus, maxBytes: MAX_BYTES });
  const request = {
    key: "order/zones",
    tags: [ZONES_TAG],
    freshMs: FRESH_MS,
    staleMs: 0,
    load: () => zones.readTables(internalCall()),
    // Only to measure the size: the bytes are never read.
    encode: (tables: ZoneTables) => serialize(tables),
  };
  return {
    callsService: false,
    async prepare(_call, { address }) {
      const { outcome } = (await cache.getOrLoad(request)).entry;
      if ("error" in outcome) throw outcome.error;
      return createTableQuoter(outcome.value, address);
    },
  };
}
