-- Settings: `moontide help config` lists them all.
return {
  listen = { "localhost:8765" },
  static = "public",                   -- the pages
  store = { file = "data/store.db" },  -- what tide.store keeps
}
