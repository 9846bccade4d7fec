"""From responses to a report: the analysis that the main job runs, and the page that shows it."""
