package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/braid-upf/braid/internal/demo"
)

// TestFigure10: FlexCP's Figure 10. Connections that download over and over spread over a
// second path when it appears, and leave it when it becomes slow; two paths carry half as
// much again as one at least.
func TestFigure10(t *testing.T) {
	f := begin(t)
	f.pmUsed = true
	figure := demo.DefaultFigure10
	figure.Rate = 50_000_000 // what a machine carries that does other things, too
	figure.Phase = 4 * time.Second
	figure.Out = t.Output()
	run, err := figure.Run(t.Context(), f.lab)
	f.check(err)
	run.Report(t.Output())
	f.check(run.Chart().WriteFile(filepath.Join(t.ArtifactDir(), "figure10.svg")))
	if err := run.Check(); err != nil {
		t.Error(err)
	}
}
