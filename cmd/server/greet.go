package server

import (
	"github.com/edition-push/edition/cmd/internal/serve"
	"github.com/edition-push/edition/configs"
)

// greet tells whoever started the server what to do next.
func greet(n *serve.Node, cfg configs.Server) {
	n.Say("edition server on %s, admin on %s, data in %s", n.URL, n.Admin, cfg.DataFile(configs.RoleServer))
	if cfg.PublicURL == "" && n.Everywhere() {
		n.Say("endpoints will begin with %s, which only this machine can reach: say --public-url URL", n.URL)
	}
	n.Say("\nTry it in a second terminal: a device that registers, and a version for it:")
	n.Say("  edition listen --url %s", n.URL)
	n.Say("  curl -X PUT -d version=1 ENDPOINT          (the ENDPOINT that listen prints)")
	if len(cfg.Relays) == 0 {
		n.Say("\nA relay behind this server:")
		n.Say("  edition relay --upstream %s --name %s --token-file %s", n.URL, firstRelay, tokenFile(cfg.Data))
	}
	n.Say("")
}
