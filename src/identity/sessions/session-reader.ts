import { sql } from "kysely";
import { keysetCondition, keysetOrder, NEWEST_ID_FIRST } from "../../infra/postgres/keyset.ts";
import type { Database } from "../../infra/postgres/postgres.ts";
import { allOf, prepare, prepareDynamic } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import type { Clock } from "../../kernel/clock.ts";
import { NIL_UUID } from "../../kernel/ids.ts";
import { networkPrefix } from "../../kernel/network-prefix.ts";
import { type Page, type PageRequest, type PageTokens, resolvePageSize } from "../../kernel/page.ts";

/** A sign-in on one device, until it is revoked or expires. */
export interface Session {
  id: string;
  clientAddress: string;
  userAgent: string;
  /** Whether it is the caller's own. */
  current: boolean;
  createTime: Date;
  refreshTime: Date;
  expireTime: Date;
}

/** The stored sessions; see `Sessions` for both methods. */
export interface SessionReader {
  /** Lists the active sessions of an account, newest first. */
  list(
    call: Call,
    current: { accountId: string; sessionId: string },
    page: PageRequest,
  ): Promise<Page<Session>>;
  /** Returns the caller's network if the account has had a session there; otherwise an empty string. */
  findKnownNetwork(call: Call, accountId: string | undefined): Promise<string>;
}

interface SessionRow {
  id: string;
  client_address: string;
  user_agent: string;
  created_at: string;
  refreshed_at: string;
  expires_at: string;
}

/** Number of sessions of an account, ended ones included, that determine its known networks. */
const RECENT_SESSIONS = 100;

const findRecentAddresses = prepare<[accountId: string], { client_address: string }>(
  (accountId) => sql`
    select distinct client_address from (
      select client_address from session where account_id = ${accountId}
      order by id desc limit ${sql.lit(RECENT_SESSIONS)}) as recent`,
);

/** Creates the reader. */
export function createSessionReader(options: {
  db: Database;
  clock: Clock;
  tokens: PageTokens;
}): SessionReader {
  const { db, clock, tokens } = options;
  return {
    async list(call, { accountId, sessionId }, page) {
      const query = { list: "sessions", accountId };
      const size = resolvePageSize(page.pageSize);
      const where = allOf([
        sql`account_id = ${accountId} and ended_at is null and expires_at > ${clock.now()}`,
        keysetCondition(NEWEST_ID_FIRST, tokens.readCursor(page.pageToken, query)),
      ]);
      const statement = sql<SessionRow>`
        select id, client_address, user_agent, created_at, refreshed_at, expires_at
        from session where ${where} ${keysetOrder(NEWEST_ID_FIRST)} limit ${size + 1}`;
      const rows = await db.read(call, prepareDynamic(statement));
      return tokens.createPage(
        rows,
        size,
        query,
        ({ id }) => [id],
        (row) => sessionFromRow(row, sessionId),
      );
    },

    async findKnownNetwork(call, accountId = NIL_UUID) {
      const rows = await db.read(call, findRecentAddresses(accountId));
      const network = networkPrefix(call.clientAddress);
      return rows.some((row) => networkPrefix(row.client_address) === network) ? network : "";
    },
  };
}

function sessionFromRow(row: SessionRow, currentId: string): Session {
  return {
    id: row.id,
    clientAddress: row.client_address,
    userAgent: row.user_agent,
    current: row.id === currentId,
    createTime: new Date(row.created_at),
    refreshTime: new Date(row.refreshed_at),
    expireTime: new Date(row.expires_at),
  };
}
