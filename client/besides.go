package client

import "github.com/edition-push/edition/wire"

// besides passes on what an answer to a poll says beside the updates.
func (c *Config) besides(resp *wire.UpdateResponse) {
	c.gone(resp.Gone)
	for _, w := range resp.Wakes {
		c.wake(w)
	}
}

func (c *Config) gone(list []wire.Gone) {
	if len(list) > 0 && c.Gone != nil {
		c.Gone(list)
	}
}

// wake passes a request on. Only a relay is asked.
func (c *Config) wake(w wire.Wake) {
	if c.Wake != nil && c.Relay != "" {
		c.Wake(w)
	}
}
