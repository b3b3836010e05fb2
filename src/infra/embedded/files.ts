import { chmod, chown, mkdir, open, rename, rm, writeFile } from "node:fs/promises";

/** Creates a folder that other users can traverse but not list, whatever the umask is, unless it exists. */
export async function createTraversableDir(folder: string): Promise<void> {
  const created = await mkdir(folder, { recursive: true });
  if (created !== undefined) await chmod(folder, 0o711);
}

/**
 * Writes a file that only its owner may read. The file appears complete.
 * @param owner ids of the file's owner; defaults to the user of this process
 */
export async function writePrivateFile(
  file: string,
  text: string,
  owner?: { uid: number; gid: number },
): Promise<void> {
  const temporary = `${file}.new`;
  await rm(temporary, { force: true });
  await writeFile(temporary, text, { mode: 0o600, flag: "wx" });
  if (owner !== undefined) await chown(temporary, owner.uid, owner.gid);
  await rename(temporary, file);
}

/** Flushes a folder to the disk, so that a rename in it survives a power failure. */
export async function syncDir(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}
