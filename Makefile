# Two commands: `make book` to read, `make test` to check. Both make their own environment on the first run.
.PHONY: book test reader links kernels diffusers editions lock address colab screenshots clean

book:          ## run every chapter once and build the pages
	@sh tools/run.sh book

test:          ## lint, types, unit tests, every chapter, the pages and their checks
	@sh tools/run.sh test

reader:        ## the checks of the pages that take minutes, and what readers take with them
	@sh tools/run.sh reader

links:         ## ask for every address outside the site that a built page links to; needs a network
	@sh tools/run.sh links

kernels:       ## the tests of networks under other processors' arithmetic, one thread and two; KERNEL=oldest-1 alone
	@sh tools/run.sh kernels $(KERNEL)

diffusers:     ## the tests of adapters and guiders under the oldest and the newest diffusers; VERSION=oldest alone
	@sh tools/run.sh diffusers $(VERSION)

editions:      ## write the Colab edition of every chapter from its text
	@sh tools/run.sh editions

lock:          ## pin every package of the book and its tests in requirements.txt, from pyproject.toml
	@sh tools/run.sh lock

address:       ## make address URL=https://github.com/OWNER/NAME PAGES=https://... writes the published addresses everywhere
	@sh tools/run.sh address '$(URL)' '$(PAGES)'

colab:         ## run every chapter alone in an empty folder, without the package; VERSIONS=pip-freeze.txt with those
	@sh tools/run.sh colab '$(VERSIONS)'

screenshots:   ## every built page, light and dark, in _build/screenshots
	@sh tools/run.sh screenshots

clean:         ## remove the environment and everything built
	@rm -rf .venv .nbrun .cache _build *.egg-info
