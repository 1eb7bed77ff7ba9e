// ---- everything is there: begin -------------------------------------------------------------------------------------

setUpTheme();
setUpNavigation();
allFigures().forEach((element) => nearScreen.observe(element));
setUpProbe();
setUpExplorer();
