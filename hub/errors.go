package hub

import (
	"fmt"
	"time"

	"github.com/edition-push/edition"
)

var errDraining = edition.RetryAfter(fmt.Errorf("%w: the server is shutting down", edition.ErrUnavailable), 5*time.Second)
