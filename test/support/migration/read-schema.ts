import type { TestDatabase } from "../stores/database.ts";

/** Returns a line for each table, column, constraint, index, trigger, function and sequence, as a dump describes them. */
export async function readSchema({ query }: Pick<TestDatabase, "query">): Promise<string[]> {
  const rows = await query<{ line: string }>(`
    with relation as (
      select oid, relname, relkind, reloptions from pg_class
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'S')
    )
    select format('relation %s %s %s', relname, relkind, reloptions) as line from relation
    union all
    select format('column %s %s %s %s not null %s default %s generated %s', relname,
      row_number() over (partition by relation.oid order by attnum), attname, format_type(atttypid, atttypmod),
      attnotnull, pg_get_expr(adbin, adrelid), attgenerated)
    from relation join pg_attribute on attrelid = relation.oid
      left join pg_attrdef on adrelid = relation.oid and adnum = attnum
    where attnum > 0 and not attisdropped
    union all
    select format('constraint %s %s %s valid %s', relname, conname, pg_get_constraintdef(pg_constraint.oid), convalidated)
    from relation join pg_constraint on conrelid = relation.oid
    union all
    select format('index %s valid %s', pg_get_indexdef(indexrelid), indisvalid)
    from relation join pg_index on indrelid = relation.oid
    union all
    select format('trigger %s %s %s', relname, pg_get_triggerdef(pg_trigger.oid), tgenabled)
    from relation join pg_trigger on tgrelid = relation.oid where not tgisinternal
    union all
    select format('function %s', pg_get_functiondef(pg_proc.oid)) from pg_proc
    where pronamespace = 'public'::regnamespace and prokind = 'f'
      and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
    union all
    select format('migration %s', name) from migration`);
  return rows.map(({ line }) => line).sort();
}
