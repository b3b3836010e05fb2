/** A grouped bar chart. */
export interface Plot {
  /** The file name without its extension. */
  name: string;
  title: string;
  groups: readonly string[];
  /** One bar in each group; the values are in the order of the groups. */
  series: readonly { name: string; values: readonly number[] }[];
}

const COLORS = ["#2f6f9f", "#d98324", "#5f9e57"];
const [LEFT, TOP, HEIGHT, BAR, GAP, FOOT] = [56, 64, 220, 26, 30, 44];

/** Returns a plot as SVG. The scale runs from 0 to a round number at or above the largest value. */
export function drawSvg({ title, groups, series }: Plot): string {
  const top = roundUp(Math.max(...series.flatMap(({ values }) => values)));
  const groupWidth = Math.max(series.length * BAR, ...groups.map((name) => name.length * 7)) + GAP;
  const width = LEFT + groups.length * groupWidth + GAP;
  const y = (value: number) => TOP + HEIGHT * (1 - value / top);
  const lines = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      `<line x1="${LEFT}" x2="${width}" y1="${y(top * share)}" y2="${y(top * share)}" stroke="#ddd"/>` +
      text(LEFT - 8, y(top * share) + 4, "end", short(top * share)),
  );
  const legend = series.map(
    ({ name }, at) =>
      `<rect x="${LEFT + at * 130}" y="34" width="12" height="12" fill="${COLORS[at % COLORS.length]}"/>` +
      text(LEFT + at * 130 + 18, 45, "start", name),
  );
  const bars = groups.flatMap((group, index) => {
    const middle = LEFT + GAP / 2 + (index + 0.5) * groupWidth;
    return [
      text(middle, TOP + HEIGHT + 20, "middle", group),
      ...series.map(({ values }, at) => {
        const value = values[index] ?? 0;
        const x = middle + (at - series.length / 2) * BAR;
        const color = COLORS[at % COLORS.length];
        const bar = `<rect x="${x}" y="${y(value)}" width="${BAR - 3}" height="${TOP + HEIGHT - y(value)}" fill="${color}"/>`;
        return bar + text(x + BAR / 2 - 1, y(value) - 4, "middle", short(value));
      }),
    ];
  });
  const size = `width="${width}" height="${TOP + HEIGHT + FOOT}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect ${size} fill="white"/>`,
    text(LEFT, 20, "start", title),
    ...[...lines, ...legend, ...bars],
    "</svg>\n",
  ].join("\n");
}

const text = (x: number, y: number, anchor: string, words: string): string =>
  `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#222">${escapeXml(words)}</text>`;

const escapeXml = (words: string): string => words.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const short = (value: number): string => String(Number(value.toPrecision(2)));

/** Returns the next 1, 2 or 5 times a power of ten. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return power * ([1, 2, 5].find((step) => step * power >= value) ?? 10);
}
