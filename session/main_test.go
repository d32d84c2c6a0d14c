package session

import (
	"testing"

	"github.com/edition-push/edition/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
