package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// element is an SVG element as a browser sees it.
type element struct {
	name string
	attr map[string]string
	text string
}

func parse(t *testing.T, svg []byte) []element {
	t.Helper()
	var out []element
	dec := xml.NewDecoder(bytes.NewReader(svg))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			e := element{name: tok.Name.Local, attr: map[string]string{}}
			for _, a := range tok.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			out = append(out, e)
		case xml.CharData:
			if len(out) > 0 {
				out[len(out)-1].text += strings.TrimSpace(string(tok))
			}
		}
	}
}

func draw(t *testing.T, c *Chart) []element {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return parse(t, b.Bytes())
}

func find(els []element, name, text string) *element {
	for i := range els {
		if els[i].name == name && els[i].text == text {
			return &els[i]
		}
	}
	return nil
}

func number(t *testing.T, e *element, attr string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(e.attr[attr], 64)
	if err != nil {
		t.Fatalf("%s %q: %v", e.name, attr, err)
	}
	return v
}

func TestSeriesMeetsItsAxis(t *testing.T) {
	els := draw(t, &Chart{Title: "T & <t>", Panels: []Panel{{
		XLabel: "time (s)", YLabel: "Mbit/s",
		Series: []Series{{Name: "a", Color: "#111111", X: []float64{0, 5, 10}, Y: []float64{0, 50, 100}}},
		Marks:  []Mark{{X: 5, Label: "here"}},
	}}})
	for _, want := range []string{"T & <t>", "time (s)", "Mbit/s", "a", "here", "100"} {
		if find(els, "text", want) == nil {
			t.Errorf("no text %q", want)
		}
	}
	line := find(els, "polyline", "")
	if line == nil {
		t.Fatal("no polyline")
	}
	// The middle point lies where the tick labels 5 and 50 stand (a label's
	// baseline is 4 below its tick).
	xTick, yTick := find(els, "text", "5"), find(els, "text", "40")
	if xTick == nil || yTick == nil {
		t.Fatal("no ticks 5 and 40")
	}
	points := strings.Fields(line.attr["points"])
	if len(points) != 3 {
		t.Fatalf("points = %q, want 3", points)
	}
	x, y, _ := strings.Cut(points[1], ",")
	if x != xTick.attr["x"] {
		t.Errorf("x of the middle point = %s, tick 5 at %s", x, xTick.attr["x"])
	}
	got, _ := strconv.ParseFloat(y, 64)
	y0, y40 := number(t, find(els, "text", "0"), "y"), number(t, yTick, "y")
	if want := y0 + (y40-y0)*50/40 - 4; math.Abs(got-want) > 0.2 {
		t.Errorf("y of the middle point = %v, want %v", got, want)
	}
}

func TestMarkLabelsDoNotOverlap(t *testing.T) {
	labels := []string{"3GPP access killed", "3GPP access back", "at the far right end"}
	els := draw(t, &Chart{Panels: []Panel{{
		Series: []Series{{X: []float64{0, 100}, Y: []float64{1, 1}}},
		Marks:  []Mark{{50, labels[0]}, {52, labels[1]}, {99, labels[2]}},
	}}})
	first, second := find(els, "text", labels[0]), find(els, "text", labels[1])
	if number(t, first, "y") == number(t, second, "y") {
		t.Error("labels of two marks side by side are in the same row")
	}
	last := find(els, "text", labels[2])
	if last.attr["text-anchor"] != "end" || number(t, last, "x") > plotRight {
		t.Errorf("label at the edge: anchor %s, x %s", last.attr["text-anchor"], last.attr["x"])
	}
}

func TestRoundAxis(t *testing.T) {
	for _, tc := range []struct {
		top  float64
		n    int
		want axis
	}{
		{100, 5, axis{100, 20}},
		{101, 5, axis{150, 50}},
		{1, 5, axis{1, 0.2}},
		{0.037, 5, axis{0.04, 0.01}},
		{8, 12, axis{8, 1}},
		{1e9, 5, axis{1e9, 2e8}},
	} {
		got := roundAxis(tc.top, tc.n)
		if math.Abs(got.max-tc.want.max) > 1e-9*got.max || math.Abs(got.step-tc.want.step) > 1e-9*got.step {
			t.Errorf("roundAxis(%v, %d) = %v, want %v", tc.top, tc.n, got, tc.want)
		}
	}
}

func TestWriteRefusesWhatCannotBeDrawn(t *testing.T) {
	for name, s := range map[string]Series{
		"lengths differ": {X: []float64{1, 2}, Y: []float64{1}},
		"NaN":            {X: []float64{1}, Y: []float64{math.NaN()}},
		"infinite":       {X: []float64{math.Inf(1)}, Y: []float64{1}},
		"negative":       {X: []float64{1}, Y: []float64{-1}},
	} {
		var b bytes.Buffer
		if err := (&Chart{Panels: []Panel{{Series: []Series{s}}}}).Write(&b); err == nil || b.Len() != 0 {
			t.Errorf("%s: err %v, %d bytes written", name, err, b.Len())
		}
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "chart.svg")
	c := &Chart{Title: "empty", Panels: []Panel{{Title: "nothing yet"}}}
	for range 2 { // the second replaces the first
		if err := c.WriteFile(path); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if find(parse(t, b), "text", "nothing yet") == nil {
		t.Error("no panel title in the file")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("folder holds %d files, want 1", len(left))
	}
	if err := (&Chart{}).WriteFile(filepath.Join(path, "under-a-file.svg")); err == nil {
		t.Error("a folder that cannot be made is no error")
	}
}
