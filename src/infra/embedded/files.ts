import { chmod, mkdir, open, rename, rm, writeFile } from "node:fs/promises";

/** Creates a folder that other users can traverse but not list, whatever the umask is, unless it exists. */
export async function createTraversableDir(folder: string): Promise<void> {
  const created = await mkdir(folder, { recursive: true });
  if (created !== undefined) await chmod(folder, 0o711);
}

/** Writes a file that only its owner may read. The file appears complete. */
export async function writePrivateFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.new`;
  await rm(temporary, { force: true });
  await writeFile(temporary, text, { mode: 0o600, flag: "wx" });
  await rename(temporary, file);
}

/** Flushes a folder to the disk, so that a rename in it survives a power failure. */
export async function syncDir(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}
