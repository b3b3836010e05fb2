// Writes a migration for the changes of the entities since the last one: npm run migration -- add-reviews

import { entities } from "../entities.ts";
import { openForMigration } from "../infra/postgres/migrate.ts";

const [name] = process.argv.slice(2);
if (name === undefined || !/^[a-z0-9-]+$/.test(name)) {
  process.stderr.write(
    "Name the migration in lower-case letters, digits and hyphens: npm run migration -- add-reviews\n",
  );
  process.exit(1);
}
const orm = await openForMigration(entities);
const { fileName } = await orm.migrator.create(undefined, false, false, name);
await orm.close();
process.stdout.write(
  fileName === ""
    ? "The entities have not changed since the last migration.\n"
    : `Wrote src/infra/postgres/migrations/${fileName}. Review it and add it to the list in src/infra/postgres/migrate.ts.\n`,
);
