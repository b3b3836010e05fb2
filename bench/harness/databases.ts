import { Client } from "pg";

/** Returns the address of another database of the same server. */
export function siblingUrl(databaseUrl: string, name: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs `work` with a connection to a database. */
export async function withClient<T>(databaseUrl: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: databaseUrl });
  client.on("error", () => {}); // a failed query rejects
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * Creates a database on the server of another one.
 * @param template name of a database without connections to copy; by default the new one is empty
 * @returns its address
 */
export async function createDatabase(serverUrl: string, name: string, template?: string): Promise<string> {
  await withClient(siblingUrl(serverUrl, "postgres"), async (client) => {
    const copied = template === undefined ? "" : ` template ${client.escapeIdentifier(template)}`;
    await client.query(`create database ${client.escapeIdentifier(name)}${copied}`);
  });
  return siblingUrl(serverUrl, name);
}
