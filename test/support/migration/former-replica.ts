import { randomUUID } from "node:crypto";
import { Client, DatabaseError } from "pg";
import { idOf } from "./former-database.ts";

/** Concurrent clients that run the statements of the previous version, in which stock is a column of the product. */
export interface FormerReplica {
  /** Transactions that were committed, by kind. */
  readonly committed: Record<"order" | "cancel" | "adjust" | "create" | "read", number>;
  /** SQLSTATEs of failed statements. Each client ends with its first one. */
  readonly errors: string[];
  /** The longest transaction that only reads, and the longest one that writes, in milliseconds. */
  readonly longestMs: { read: number; write: number };
  /** Ids of the orders whose commit was acknowledged, and of those that were cancelled. */
  readonly orders: Set<string>;
  readonly cancelled: Set<string>;
  /** Stops the clients after their current transaction. */
  stop(): void;
  /** Resolves when all clients have ended. */
  readonly ended: Promise<void>;
}

/** Starts clients on a database with products 1 to `products`. */
export function startFormerReplica(
  url: string,
  options: { clients: number; products: number },
): FormerReplica {
  let isStopped = false;
  const replica = {
    committed: { order: 0, cancel: 0, adjust: 0, create: 0, read: 0 },
    errors: [] as string[],
    longestMs: { read: 0, write: 0 },
    orders: new Set<string>(),
    cancelled: new Set<string>(),
    stop: () => {
      isStopped = true;
    },
  };
  const run = async (number: number) => {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      for (let round = number; !isStopped; round += options.clients) {
        const kind = KINDS[round % KINDS.length] ?? "order";
        const startMs = performance.now();
        const isDone = await TRANSACTIONS[kind](client, round, options.products, replica);
        if (!isDone) continue;
        const reached = kind === "read" ? "read" : "write";
        replica.longestMs[reached] = Math.max(replica.longestMs[reached], performance.now() - startMs);
        replica.committed[kind] += 1;
      }
    } catch (error) {
      replica.errors.push(error instanceof DatabaseError ? (error.code ?? "") : String(error));
    } finally {
      await client.end();
    }
  };
  const ended = Promise.all(Array.from({ length: options.clients }, (_, number) => run(number))).then(
    () => {},
  );
  return { ...replica, ended };
}

type Kind = keyof FormerReplica["committed"];
type Placed = Pick<FormerReplica, "orders" | "cancelled">;
/** Returns whether there was anything to do. */
type Transaction = (client: Client, round: number, products: number, placed: Placed) => Promise<boolean>;

/** The transactions of a client, in turn. */
const KINDS: readonly Kind[] = [
  "order",
  "read",
  "order",
  "adjust",
  "order",
  "cancel",
  "read",
  "create",
  "order",
];

const CLAIM_REQUEST = `
  insert into idempotency (method, owner, request_id, fingerprint, response)
  values ($1, '', $2::uuid, uuid_send($2::uuid), '')`;

const LOCK_PRODUCTS = `
  select id, stock_quantity, sku, name, currency, price_minor, active
  from product where id = any($1::uuid[]) order by id for no key update`;

const TRANSACTIONS: Record<Kind, Transaction> = {
  async order(client, round, products, { orders }) {
    const id = randomUUID();
    const ids = await chooseProducts(client, round, products);
    await inTransaction(client, async () => {
      await client.query(CLAIM_REQUEST, ["CreateOrder", id]);
      await client.query(LOCK_PRODUCTS, [ids]);
      await client.query(
        moveStock(
          -1,
          "ORDER",
          `insert into orders (id, state, currency, total_minor, request_id, version, created_at, updated_at)
           values ($1, 'PENDING', 'EUR', 200, $1, 1, now(), now())`,
        ),
        [id, ids],
      );
    });
    orders.add(id);
    return true;
  },
  async cancel(client, _round, _products, { orders, cancelled }) {
    const [id] = orders.difference(cancelled);
    if (id === undefined) return false;
    cancelled.add(id);
    await inTransaction(client, async () => {
      await client.query(CLAIM_REQUEST, ["CancelOrder", id]);
      await client.query("select from orders where id = $1 for update", [id]);
      const { rows } = await client.query<{ product_id: string }>(
        "select product_id from order_item where order_id = $1 order by product_id",
        [id],
      );
      const ids = rows.map((row) => row.product_id);
      await client.query(LOCK_PRODUCTS, [ids]);
      await client.query(
        moveStock(
          1,
          "CANCEL",
          "update orders set state = 'CANCELLED', version = version + 1, updated_at = now() where id = $1",
        ),
        [id, ids],
      );
    });
    return true;
  },
  async adjust(client, round, products) {
    const [id] = await chooseProducts(client, round, products);
    await inTransaction(client, async () => {
      await client.query(LOCK_PRODUCTS, [[id]]);
      await client.query("update product set stock_quantity = stock_quantity + 5 where id = $1", [id]);
      await client.query(
        `insert into stock_movement (product_id, delta, reason, effective_at, created_at)
         values ($1, 5, 'RECEIVED', now(), now())`,
        [id],
      );
    });
    return true;
  },
  async create(client) {
    const id = randomUUID();
    await inTransaction(client, async () => {
      await client.query(
        `insert into product (id, sku, name, description, category_id, brand, currency, price_minor, stock_quantity,
           image_uri, attributes, created_at, updated_at)
         values ($1::uuid, $1::text, 'New', '', '00000000-0000-0000-0000-000000000001', '', 'EUR', 100, 7, '', '{}',
           now(), now())`,
        [id],
      );
      await client.query(
        `insert into stock_movement (product_id, delta, reason, effective_at, created_at)
         values ($1, 7, 'INITIAL', now(), now())`,
        [id],
      );
    });
    return true;
  },
  async read(client, round, products) {
    await client.query(
      `select id, name, stock_quantity, purchase_count, in_stock from product where id = ${idOf("$1::int")}`,
      [1 + (round % products)],
    );
    return true;
  },
};

/** Returns the statement by which an order or its cancellation moves a unit of each product. */
function moveStock(sign: 1 | -1, reason: "ORDER" | "CANCEL", writeOrder: string): string {
  const items =
    reason === "ORDER"
      ? `, item as (
      insert into order_item (order_id, position, product_id, sku, name, unit_minor, quantity)
      select $1::uuid, ordinality, id, 'sku', 'Product', 100, 1 from unnest($2::uuid[]) with ordinality as line (id)
    )`
      : "";
  return `
    with stock as (
      update product set stock_quantity = stock_quantity + ${sign}, purchase_count = purchase_count - ${sign}
      from unnest($2::uuid[]) as line (product_id) where product.id = line.product_id
    ), ledger as (
      insert into stock_movement (product_id, delta, reason, order_id, effective_at, created_at)
      select line, ${sign}, '${reason}', $1::uuid, now(), now() from unnest($2::uuid[]) as line
    )${items}
    ${writeOrder}`;
}

/** Returns the ids of two products in descending order, in which callers may send them. */
async function chooseProducts(client: Client, round: number, products: number): Promise<string[]> {
  const first = 1 + ((round * 31) % (products - 1));
  const { rows } = await client.query<{ id: string }>(
    `select ${idOf("number")} as id from unnest($1::int[]) as number`,
    [[first + 1, first]],
  );
  return rows.map(({ id }) => id);
}

async function inTransaction(client: Client, work: () => Promise<void>): Promise<void> {
  await client.query("begin");
  await work();
  await client.query("commit");
}
