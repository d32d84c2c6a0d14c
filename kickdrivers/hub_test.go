package kickdrivers_test

import (
	"github.com/edition-push/edition/hub"
	"github.com/edition-push/edition/kickdrivers"
)

// The dispatcher is what the hub kicks with, though neither knows the other.
var _ hub.Kicker = (*kickdrivers.Dispatcher)(nil)
