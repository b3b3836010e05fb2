import { defineEntity, p } from "@mikro-orm/postgresql";

/**
 * A word of the searchable text of products and categories, cut at its first digit. Prefixes are expanded to these
 * words, and misspelled words are corrected to them.
 */
export const SearchWordEntity = defineEntity({
  name: "SearchWord",
  tableName: "search_word",
  properties: { word: p.text().primary() },
  indexes: [
    {
      name: "search_word_trigram",
      expression: "create index search_word_trigram on search_word using gin (word gin_trgm_ops)",
    },
    {
      name: "search_word_prefix",
      expression: "create index search_word_prefix on search_word (word text_pattern_ops)",
    },
  ],
});
