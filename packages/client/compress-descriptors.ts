import { globSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

const EMBEDDED = /fileDesc\("([A-Za-z0-9+/]+)"/;

/**
 * Writes the descriptors in generated TypeScript as hexadecimal text, from which the client makes base64 when it is
 * loaded. Compressed, that is a quarter less: the same name in two places is the same text in hexadecimal, but seldom in
 * base64. The options of files are left out: they are names for the generated code of other languages.
 * @param source folder with `gen` and `src/client`
 */
export async function compressDescriptors(source: string): Promise<void> {
  const helper = join(source, "src/client/descriptor.ts");
  for (const path of globSync("gen/**/*_pb.ts", { cwd: source })) {
    const file = join(source, path);
    const text = await readFile(file, "utf8");
    const embedded = EMBEDDED.exec(text)?.[1];
    if (embedded === undefined) continue;
    const descriptor = fromBinary(FileDescriptorProtoSchema, Buffer.from(embedded, "base64"));
    const bytes = toBinary(FileDescriptorProtoSchema, { ...descriptor, options: undefined });
    const hex = Buffer.from(bytes).toString("hex");
    const imported = `import { hexToBase64 } from "${relative(join(file, ".."), helper)}";\n`;
    const call = `fileDesc(/*@__PURE__*/ hexToBase64("${hex}")`;
    await writeFile(file, imported + text.replace(EMBEDDED, () => call));
  }
}
