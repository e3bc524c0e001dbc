-- moontide.conf.lua - Moontide behind a proxy on the same machine.
return {
  listen = {
    "127.0.0.1:8765",           -- for nginx, which tells about its clients in X-Forwarded-For
    "proxy+127.0.0.1:8766",     -- for HAProxy, which tells it in a PROXY header; keep the one that you use
  },
  proxies = { "127.0.0.1" },    -- the addresses that the proxies connect from: only their word counts
}
