/**
 * Returns the SQL of a text whose ASCII punctuation is replaced by spaces, as PostgreSQL's parser gets it for
 * the text index. Queries are split at the same characters, so that "sku 000123" matches "SKU-000123", no sign or
 * host name becomes a lexeme, and no text contains a category lexeme, which begins with "#". (`translate` takes
 * seven times as long.)
 * @param expression a column or another expression of type text
 */
export function searchableText(expression: string): string {
  return `regexp_replace(${expression}, '[][!"#$%&''()*+,./:;<=>?@\\\\^_\`{|}~-]', ' ', 'g')`;
}
