// Migrates the database of DATABASE_URL. Each event of the log is a line of standard output.
import { entities } from "../../../src/entities.ts";
import { migrate } from "../../../src/infra/postgres/migrate.ts";

const write = (fields: Record<string, unknown>, message: string) =>
  void process.stdout.write(`${message} ${JSON.stringify(fields)}\n`);
await migrate(process.env.DATABASE_URL ?? "", entities, {
  debug: write,
  info: write,
  warn: write,
  error: write,
});
