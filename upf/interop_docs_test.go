package upf

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestInteropDocument: the tests that docs/INTEROP.md names are there, and every row
// names one.
func TestInteropDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/INTEROP.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{} // of a package's tests, by its folder
	tests := func(folder string) string {
		if _, read := sources[folder]; read {
			return sources[folder]
		}
		files, err := filepath.Glob("../" + folder + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("package %s: %d files of tests, %v", folder, len(files), err)
		}
		var all strings.Builder
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		sources[folder] = all.String()
		return sources[folder]
	}
	named := regexp.MustCompile("^(?:`([a-z0-9/]+)` )?((?:Test|Fuzz)[A-Za-z0-9]+)$")
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "|") || strings.Contains(line, "---") || strings.HasSuffix(strings.TrimSpace(line), "Shown by |") {
			continue
		}
		rows++
		if len(cells) != 3 {
			t.Errorf("a row of %d cells: %s", len(cells), line)
			continue
		}
		folder := "upf"
		for item := range strings.SplitSeq(strings.TrimSpace(cells[2]), ", ") {
			m := named.FindStringSubmatch(item)
			if m == nil {
				t.Errorf("%q is no test: %s", item, line)
				continue
			}
			if m[1] != "" {
				folder = m[1] // of the rest of the row too, unless the test is ours
			}
			if is := "func " + m[2] + "("; !strings.Contains(tests(folder), is) && (m[1] != "" || !strings.Contains(tests("upf"), is)) {
				t.Errorf("package %s has no %s: %s", folder, m[2], line)
			}
		}
	}
	if rows < 60 {
		t.Errorf("%d rows", rows)
	}
}
