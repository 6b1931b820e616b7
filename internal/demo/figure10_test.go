package demo

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/braid-upf/braid/atsss/steer"
	"github.com/braid-upf/braid/internal/lab"
	"github.com/braid-upf/braid/smf"
)

// figureRun is a run of three phases of 2 s in which the paths carry so many Mbit/s, seen
// every 50 ms.
func figureRun(rates [3]Rates) *Figure10Run {
	r := &Figure10Run{cfg: DefaultFigure10, Files: 7, Phases: rates}
	var k look
	for ms := 0; ms <= 6000; ms += 50 {
		phase := min(ms/2000, 2)
		if ms%2000 == 0 && ms < 6000 {
			r.begun[phase] = at(ms)
		}
		k.at = at(ms)
		r.load.looks = append(r.load.looks, k)
		for a, rate := range rates[phase] {
			k.down[a] += uint64(rate * 1e6 / 8 / 20)
		}
	}
	r.ended = at(6000)
	return r
}

func TestFigure10Check(t *testing.T) {
	good := [3]Rates{{100, 0}, {100, 90}, {95, 2}}
	if err := figureRun(good).Check(); err != nil {
		t.Error(err)
	}
	for want, rates := range map[string][3]Rates{
		"with one path":                      {{100, 2}, {100, 90}, {95, 2}},
		"two paths carry 140.0 Mbit/s":       {{100, 0}, {70, 70}, {95, 2}},
		"of two paths the second carries 9%": {{100, 0}, {200, 20}, {95, 2}},
		"the slow path carries 7.4%":         {{100, 0}, {100, 90}, {100, 8}},
		"in the end 70.0 Mbit/s are carried": {{100, 0}, {100, 90}, {70, 0}},
		"with one path: 0.0 and 0.0":         {},
	} {
		if err := figureRun(rates).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", rates, err, want)
		}
	}
	idle := figureRun(good)
	idle.Files = 0
	if idle.Check() == nil {
		t.Error("a run without a file is as it should be")
	}
}

func TestFigure10Chart(t *testing.T) {
	r := figureRun([3]Rates{{100, 0}, {100, 90}, {95, 2}})
	var svg, report bytes.Buffer
	if err := r.Chart().Write(&svg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"second path appears", "second path 100ms slower", "throughput (Mbit/s)", "time (s)", ">both<", ">200<"} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("the chart has no %q", want)
		}
	}
	r.Report(&report)
	if want := "a second path:            190.0 Mbit/s: first path  100.0, second path   90.0\n"; !strings.Contains(report.String(), want) {
		t.Errorf("report\n%s, want a line\n%s", &report, want)
	}
}

// TestFigure10Policy: the policies of the first phase and of the others are valid and ask for
// the same control parameters, so that the session stays.
func TestFigure10Policy(t *testing.T) {
	p := lab.DefaultPolicy()
	p.Sessions[0].Steering = smf.Steering{Functionality: steer.MPTCP, Mode: steer.LoadBalancing, Indicator: steer.Autonomous}
	one := onlyFirst(&p)
	if err := one.Validate(); err != nil {
		t.Error(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if one.Sessions[0].Accesses[steer.AccessNon3GPP] != nil || p.Sessions[0].Accesses[steer.AccessNon3GPP] == nil {
		t.Error("the second path is there at first, or is not later")
	}
}

func TestCompare(t *testing.T) {
	want := []byte("0123456789")
	for text, ok := range map[string]bool{"0123456789": true, "012345678": false, "01234567890": false, "0123x56789": false} {
		if err := compare(io.NopCloser(strings.NewReader(text)), want, make([]byte, 3)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
